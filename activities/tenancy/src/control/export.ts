import type { TenantId } from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';

type Db = Pick<ControlDb, 'query'>;

const PAGE_ROWS = 1_000;

/**
 * What stays readable of a tenant after its keys are gone: who did what, when, and how it ended, as JSON lines. Inputs,
 * results and arguments are not in it: the control process cannot read them. The journal is complete, with positions and
 * hashes, so `verify` can be run on it. The last line counts the lines, so a file that was cut short is noticed.
 */
export async function* exportLines(db: Db, tenantId: TenantId): AsyncGenerator<string> {
  let lines = 0;
  for await (const [kind, rows] of pages(db, tenantId)) {
    for (const row of rows) {
      lines += 1;
      yield `${JSON.stringify({ kind, ...row })}\n`;
    }
  }
  yield `${JSON.stringify({ kind: 'end', lines })}\n`;
}

async function* pages(db: Db, tenantId: TenantId): AsyncGenerator<readonly [string, object[]]> {
  for (const [kind, sql] of Object.entries(TABLES)) {
    for (let after = ''; ;) {
      const rows = await db.query<{ at_key: string; row: object }>(sql, [tenantId, after, PAGE_ROWS]);
      yield [kind, rows.map(({ row }) => row)] as const;
      const last = rows.at(-1);
      if (!last || rows.length < PAGE_ROWS) break;
      after = last.at_key;
    }
  }
}

/** One page after a key, in the order of the table's own key: an export reads each row once. */
const page = (table: string, key: string, columns: string, after = '$2'): string => `
  SELECT ${key}::text AS at_key, (SELECT to_jsonb(x) FROM (SELECT ${columns}) x) AS row
    FROM ${table} t WHERE t.tenant_id = $1 AND ${key} > ${after} ORDER BY ${key} LIMIT $3`;

const TABLES: Readonly<Record<string, string>> = {
  tenant: `SELECT t.id AS at_key, to_jsonb(t) AS row FROM tenants t WHERE t.id = $1 AND t.id > $2 LIMIT $3`,
  run: page(
    'runs',
    't.id',
    't.id, t.workspace_id, t.agent_id, t.workflow_type, t.actor, t.state, t.reason, t.created_at, t.started_at, t.finished_at',
  ),
  effect: page(
    'effects',
    't.key',
    't.key, t.run_id, t.tool_id, t.tool_version, t.effect_class, t.state, t.outcome, t.target, t.policy_version, t.rule, t.opened_at, t.closed_at',
  ),
  approval: page(
    'approvals',
    't.id',
    't.id, t.run_id, t.key, t.tool_id, t.target, t.rule, t.state, t.requested_by, t.decided_by, t.decided_at, t.reason, t.created_at',
  ),
  journal: page(
    'journal_records',
    't.id',
    "t.id, t.seq, t.kind, t.run_id, t.key, t.body, t.at, encode(t.prev_hash, 'hex') AS prev_hash, encode(t.hash, 'hex') AS hash",
    "coalesce(nullif($2, ''), '0')::bigint",
  ),
};
