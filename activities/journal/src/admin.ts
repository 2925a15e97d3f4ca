import { placementOf } from '@bulkhead/contract';
import type { Json, RunId } from '@bulkhead/contract';
import type { TenantDb } from '@bulkhead/prisma/tenant';

export { noteReads } from './reads.js';
export type { ContentRead } from './reads.js';
export { listAudit } from './audit.js';
export type { AuditEntry } from './audit.js';

export interface JournalEntry {
  /** Place in the tenant's hash chain; undefined until it is sealed, usually within a second. */
  readonly seq: number | undefined;
  readonly kind: string;
  readonly key: string | undefined;
  readonly at: Date;
  readonly body: Json;
  /** Hex. */
  readonly hash: string | undefined;
}

const ENTRIES_MAX = 1_000;

/** What a run did and was refused, oldest first; at most 1,000 records. */
export async function listJournal(db: TenantDb, runId: RunId): Promise<readonly JournalEntry[]> {
  const rows = await db.run((tx) =>
    tx.journalRecord.findMany({ where: { runId }, orderBy: { id: 'asc' }, take: ENTRIES_MAX }),
  );
  return rows.map((row) => ({
    seq: row.seq === null ? undefined : Number(row.seq),
    kind: row.kind,
    key: row.key ?? undefined,
    at: row.at,
    body: row.body as Json,
    hash: row.hash === null ? undefined : Buffer.from(row.hash).toString('hex'),
  }));
}

export interface DecodeNote {
  /** Who read: `key:<prefix>` or `user:<id>`. */
  readonly actor: string;
  /** How many payloads were asked for; nothing of what they hold. */
  readonly payloads: number;
  /** Failure code, when nothing was told. */
  readonly refused: string | undefined;
}

/** Records that somebody opened payloads of the tenant's histories, or tried to. */
export async function noteDecode(db: TenantDb, { actor, payloads, refused }: DecodeNote): Promise<void> {
  const { tenantId } = db;
  const { namespace } = placementOf(tenantId);
  const body = {
    change: 'payloads_decoded',
    actor,
    namespace,
    payloads,
    ...(refused === undefined ? {} : { refused }),
  };
  await db.run((tx) => tx.journalRecord.create({ data: { tenantId, kind: 'control', body } }));
}
