import { BulkheadError } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import type { ReadStatement, TenantDb } from '@bulkhead/prisma/tenant';

/** One change of who may do what, of rules or of the tenant itself, or one refused envelope. */
export interface AuditEntry {
  /** Place in the tenant's hash chain; undefined until it is sealed. */
  readonly seq: number | undefined;
  readonly kind: string;
  readonly at: Date;
  readonly body: Json;
}

interface Row {
  readonly cursor: string;
  readonly seq: string | null;
  readonly kind: string;
  readonly at: Date;
  readonly body: Json;
}

const CURSOR = /^[1-9]\d{0,17}$/;
const NEWEST = '999999999999999999';

/** The kinds stand in the text: as parameters they would hide the index that holds only these from the planner. */
const LIST: ReadStatement = {
  name: 'list_audit',
  text: `SELECT id::text AS cursor, seq::text, kind, at, body FROM journal_records
          WHERE tenant_id = $1 AND kind IN ('control', 'refusal') AND id < $2 ORDER BY id DESC LIMIT $3`,
};

/**
 * The tenant's audit, newest first, at most `first` (1 to 100).
 * @throws BulkheadError BAD_INPUT when `after` is no cursor.
 */
export async function listAudit(
  db: TenantDb,
  page: { readonly first: number; readonly after?: string | undefined },
): Promise<{ readonly nodes: readonly AuditEntry[]; readonly endCursor: string | undefined }> {
  const { first, after = NEWEST } = page;
  if (!CURSOR.test(after)) {
    throw new BulkheadError('BAD_INPUT', { field: 'after', publicMessage: 'after is not a cursor.' });
  }
  const rows = await db.read<Row>(LIST, [db.tenantId, after, first + 1]);
  const shown = rows.slice(0, first);
  return {
    nodes: shown.map(({ seq, kind, at, body }) => ({
      seq: seq === null ? undefined : Number(seq),
      kind,
      at,
      body,
    })),
    endCursor: rows.length > first ? shown.at(-1)?.cursor : undefined,
  };
}
