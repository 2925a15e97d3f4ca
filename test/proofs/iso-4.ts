import pg from 'pg';
import { openTenantDoor } from '@bulkhead/prisma/tenant';
import type { LineFunction } from '@bulkhead/prisma/tenant';
import { tenantId } from '@bulkhead/contract';
import { tenantTables } from '../support/catalog.js';
import type { RunSql, TenantTable } from '../support/catalog.js';
import { freshDatabase } from '../support/database.js';
import type { TestDatabase } from '../support/database.js';
import { ATTACKER, columnsOf, insertOf, seedTwoTenants, VICTIM } from '../support/two-tenants.js';
import type { Column } from '../support/two-tenants.js';
import { zeroOf } from './proof.js';
import type { Proof } from './proof.js';

/** What may come of an attack: the database refuses, or answers as if the row did not exist. */
interface Attack {
  readonly name: string;
  readonly sql: string;
  /** Codes of refusals: 42501 no privilege or a policy; a check, type or key error would prove nothing. */
  readonly mustFail?: readonly string[];
}

const REFUSED = ['42501'];

/**
 * The app role with the attacker's tenant set, against the victim's row in every table: reads, writes, moves, merges,
 * copies, plans, leaky functions, division by a foreign value. Then each table without a tenant, empty and full.
 */
export const run: Proof = async ({ progress }) => {
  const database = await freshDatabase();
  const owner = await connect(database.ownerUrl);
  const app = await connect(database.appUrl);
  const notices: string[] = [];
  app.on('notice', (notice) => notices.push(notice.message ?? ''));
  const asOwner: RunSql = async <Row>(sql: string, values: unknown[] = []) =>
    (await owner.query(sql, values)).rows as Row[];
  const faults: string[] = [];
  let tried = 0;
  try {
    const tables = await tenantTables(asOwner);
    // empty and analysed tables are planned as scans that may never evaluate the policy
    await asOwner('VACUUM ANALYZE');
    for (const table of tables) tried += await withoutTenant(app, table, 'empty', faults);
    await seedTwoTenants(asOwner);
    const before = await fingerprint(asOwner, tables);
    for (const table of tables) tried += await withoutTenant(app, table, 'full', faults);
    for (const table of tables) {
      const attacks = attacksOn(table, await columnsOf(asOwner, table.name));
      for (const attack of attacks) await tryAttack(app, table, attack, faults);
      tried += attacks.length;
    }
    tried += await callFunctions(database, faults);
    progress(`${tried} attacks on ${tables.length} tables`);
    if (notices.some((text) => text.includes(VICTIM))) faults.push('a leaky function saw a foreign row');
    const after = await fingerprint(asOwner, tables);
    for (const [name, print] of before) {
      if (after.get(name) !== print) faults.push(`${name}: the victim's rows changed`);
    }
    return zeroOf('foreign rows seen or changed, or silence without a tenant', tried, faults);
  } finally {
    await app.end();
    await owner.end();
    await database.drop();
  }
};

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return client;
}

function attacksOn({ name, tenantColumn }: TenantTable, columns: readonly Column[]): Attack[] {
  const foreign = `${tenantColumn} = '${VICTIM}'`;
  const text =
    columns.find((column) => column.type === 'text' && column.name !== tenantColumn)?.name ?? tenantColumn;
  const every = columns.map((column) => `"${column.name}"`).join(', ');
  const insert = insertOf(name, columns, tenantColumn, VICTIM, 'planted');
  return [
    ...readsOf(name, tenantColumn, text),
    { name: 'insert', sql: insert, mustFail: REFUSED },
    { name: 'insert or nothing', sql: `${insert} ON CONFLICT DO NOTHING`, mustFail: REFUSED },
    {
      name: 'insert .. select',
      sql: `INSERT INTO ${name} (${every}) SELECT ${every} FROM ${name} WHERE ${foreign}`,
    },
    { name: 'update', sql: `UPDATE ${name} SET "${text}" = 'stolen' WHERE ${foreign}` },
    {
      name: 'update all',
      sql: `UPDATE ${name} SET "${text}" = "${text}" WHERE ${tenantColumn} <> '${ATTACKER}'`,
    },
    { name: 'move', sql: `UPDATE ${name} SET ${tenantColumn} = '${VICTIM}'`, mustFail: REFUSED },
    { name: 'delete', sql: `DELETE FROM ${name} WHERE ${foreign}` },
    {
      name: 'merge',
      sql: `MERGE INTO ${name} t USING (SELECT '${VICTIM}' AS v) s ON t.${tenantColumn} = s.v
            WHEN MATCHED THEN UPDATE SET "${text}" = 'stolen' WHEN NOT MATCHED THEN DO NOTHING`,
    },
    { name: 'truncate', sql: `TRUNCATE ${name}`, mustFail: REFUSED },
    { name: 'disable', sql: `ALTER TABLE ${name} DISABLE ROW LEVEL SECURITY`, mustFail: REFUSED },
    { name: 'policy', sql: `CREATE POLICY mine ON ${name} USING (true)`, mustFail: REFUSED },
    { name: 'drop policy', sql: `DROP POLICY tenant_only ON ${name}`, mustFail: REFUSED },
    { name: 'rule', sql: `CREATE RULE r AS ON SELECT TO ${name} DO INSTEAD SELECT 1`, mustFail: REFUSED },
    {
      name: 'reference',
      sql: `CREATE TABLE f (t text REFERENCES ${name} (${tenantColumn}))`,
      mustFail: REFUSED,
    },
  ];
}

/** Every one of them must answer without a row of the victim, or be refused. */
function readsOf(name: string, tenantColumn: string, text: string): Attack[] {
  const other = `${tenantColumn} <> '${ATTACKER}'`;
  return [
    { name: 'select', sql: `SELECT * FROM ${name} WHERE ${tenantColumn} = '${VICTIM}'` },
    {
      name: 'select or true',
      sql: `SELECT * FROM (SELECT * FROM ${name} WHERE true OR true) x WHERE ${other}`,
    },
    { name: 'self join', sql: `SELECT a.* FROM ${name} a RIGHT JOIN ${name} b ON true WHERE b.${other}` },
    { name: 'with', sql: `WITH x AS MATERIALIZED (SELECT * FROM ${name}) SELECT * FROM x WHERE ${other}` },
    { name: 'ctid', sql: `SELECT * FROM ${name} WHERE ctid IN ('(0,1)', '(0,2)') AND ${other}` },
    { name: 'for update', sql: `SELECT * FROM ${name} WHERE ${other} FOR UPDATE` },
    {
      name: 'row security off',
      sql: `SET LOCAL row_security = off; SELECT * FROM ${name}`,
      mustFail: REFUSED,
    },
    { name: 'aggregate', sql: `SELECT 1 FROM ${name} HAVING count(*) FILTER (WHERE ${other}) > 0` },
    { name: 'copy out', sql: `COPY (SELECT * FROM ${name} WHERE ${other}) TO STDOUT` },
    {
      name: 'divide',
      sql: `SELECT 1 FROM ${name} WHERE ${other} AND 1 / (length("${text}") - length("${text}")) = 1`,
    },
    { name: 'cast', sql: `SELECT 1 FROM ${name} WHERE ${other} AND ("${text}" || 'x')::int = 1` },
    {
      name: 'leaky function',
      sql: `CREATE FUNCTION pg_temp.leak(v text) RETURNS boolean COST 0.0001 LANGUAGE plpgsql
              AS 'BEGIN RAISE NOTICE ''%'', v; RETURN true; END';
            SELECT * FROM ${name} WHERE pg_temp.leak(${tenantColumn}::text) AND ${other}`,
    },
    { name: 'statistics', sql: `SELECT 1 FROM pg_stats WHERE tablename = '${name}'` },
    { name: 'raw statistics', sql: 'SELECT 1 FROM pg_statistic', mustFail: REFUSED },
    { name: 'plan', sql: `EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM ${name} WHERE ${other}` },
    { name: 'owner', sql: `SET LOCAL ROLE postgres; SELECT * FROM ${name}`, mustFail: ['42501', '22023'] },
    { name: 'other door', sql: `SET LOCAL ROLE bulkhead_control; SELECT * FROM ${name}`, mustFail: REFUSED },
  ];
}

async function tryAttack(
  app: pg.Client,
  { name }: TenantTable,
  attack: Attack,
  faults: string[],
): Promise<void> {
  const say = (what: string): unknown => faults.push(`${name}, ${attack.name}: ${what}`);
  await app.query('BEGIN');
  try {
    await app.query("SELECT set_config('app.tenant', $1, true)", [ATTACKER]);
    const answer = (await app.query(attack.sql)) as pg.QueryResult | pg.QueryResult[];
    const last = Array.isArray(answer) ? answer.at(-1) : answer;
    if (attack.mustFail) say('was not refused');
    const rows = attack.name === 'plan' ? planned(last) : (last?.rowCount ?? 0);
    if (rows > 0) say(`${rows} foreign rows`);
  } catch (error) {
    const { code = '' } = error as { code?: string };
    if (!(attack.mustFail ?? REFUSED).includes(code)) say(String(error));
  } finally {
    await app.query('ROLLBACK');
  }
}

/** Rows that the scan at the bottom of an executed plan gave up. */
function planned(answer: pg.QueryResult | undefined): number {
  const [row] = (answer?.rows ?? []) as { 'QUERY PLAN': { Plan: { 'Actual Rows': number } }[] }[];
  return row?.['QUERY PLAN'][0]?.Plan['Actual Rows'] ?? 1;
}

/** No tenant, an empty one, and one left over from a transaction: an error each time, never an empty answer. */
async function withoutTenant(
  app: pg.Client,
  { name, tenantColumn }: TenantTable,
  state: string,
  faults: string[],
): Promise<number> {
  const before = [
    'RESET app.tenant',
    "SELECT set_config('app.tenant', '', false)",
    `BEGIN; SELECT set_config('app.tenant', '${ATTACKER}', true); COMMIT`,
  ];
  const statements = [
    `SELECT * FROM ${name}`,
    `SELECT count(*) FROM ${name}`,
    `SELECT * FROM ${name} WHERE ${tenantColumn} = '${ATTACKER}'`,
    `UPDATE ${name} SET ${tenantColumn} = ${tenantColumn}`,
    `DELETE FROM ${name}`,
  ];
  for (const first of before) {
    for (const sql of statements) {
      await app.query(first);
      const code = await app.query(sql).then(
        () => 'an answer',
        (error: { code?: string }) => error.code,
      );
      if (code !== '42501') faults.push(`${name} (${state}), after "${first}": ${sql} gave ${code}`);
    }
  }
  return before.length * statements.length;
}

/** The line's own functions through the attacker's door, with the victim's ids and the victim named as tenant. */
async function callFunctions(database: TestDatabase, faults: string[]): Promise<number> {
  const door = openTenantDoor({
    url: database.appUrl,
    poolMax: 1,
    onError: (error) => faults.push(`pool: ${error.message}`),
  });
  const canary = `canary-${VICTIM}`;
  const ids = {
    runId: canary,
    key: canary,
    id: canary,
    approvalId: canary,
    idempotencyKey: canary,
    host: canary,
  };
  const names: LineFunction[] = [
    'admit',
    'settle',
    'decide',
    'accept_run',
    'decide_approval',
    'publish_policy',
  ];
  for (const name of names) {
    const answer = await door
      .tenant(tenantId(ATTACKER))
      .call(name, {
        ...ids,
        tenantId: VICTIM,
        token: canary,
        decision: 'approved',
        role: 'admin',
        profile: canary,
      })
      .catch((error: unknown) => ({ refused: String(error) }));
    if (JSON.stringify(answer).includes(`"${canary}"`)) faults.push(`${name} answered with the victim's row`);
  }
  await door.close();
  return names.length;
}

async function fingerprint(sql: RunSql, tables: readonly TenantTable[]): Promise<Map<string, string>> {
  const prints = new Map<string, string>();
  for (const { name, tenantColumn } of tables) {
    const [row] = await sql<{ print: string }>(
      `SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) AS print FROM ${name} t WHERE ${tenantColumn} = $1`,
      [VICTIM],
    );
    prints.set(name, row?.print ?? 'none');
  }
  return prints;
}
