import type { RunSql } from './catalog.js';
import { tenantTables } from './catalog.js';

/** The victim and the attacker of database attacks. */
export const VICTIM = 'victim';
export const ATTACKER = 'attacker';

export interface Column {
  readonly name: string;
  readonly type: string;
  readonly choices: readonly string[];
  readonly identity: boolean;
}

/** Columns of a table in order, with the values that its CHECK constraints allow. */
export async function columnsOf(sql: RunSql, table: string): Promise<Column[]> {
  const rows = await sql<{ name: string; type: string; checks: string; identity: boolean }>(
    `SELECT a.attname AS name, format_type(a.atttypid, NULL) AS type,
            coalesce((SELECT string_agg(pg_get_constraintdef(k.oid), ' ') FROM pg_constraint k
                       WHERE k.conrelid = a.attrelid AND k.contype = 'c' AND k.conkey = ARRAY[a.attnum]), '') AS checks,
            coalesce(pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval%', false) OR a.attidentity <> '' AS identity
       FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
      WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum`,
    [`public.${table}`],
  );
  return rows.map(({ name, type, checks, identity }) => ({
    name,
    type,
    identity,
    choices: [...checks.matchAll(/'([^']*)'::/g)].map((match) => match[1] ?? ''),
  }));
}

/** SQL literal that fits the column; text and bytes contain `mark`, so that a leaked value can be recognised. */
export function literalOf(column: Column, mark: string): string {
  const { type, choices } = column;
  if (choices[0] !== undefined && !type.endsWith('[]')) return `'${choices[0]}'`;
  if (type.endsWith('[]')) return `'{}'::${type}`;
  if (/^(integer|bigint|smallint|numeric|double precision|real)$/.test(type)) return '1';
  if (type === 'jsonb' || type === 'json') return `'{"canary":"${mark}"}'`;
  if (type === 'bytea') return `convert_to('canary-${mark}', 'UTF8')`;
  if (type === 'boolean') return 'false';
  if (type.startsWith('timestamp') || type === 'date') return 'now()';
  if (type === 'uuid') return 'gen_random_uuid()';
  return `'canary-${mark}'`;
}

/** An INSERT of one row of the tenant into the table. */
export function insertOf(
  table: string,
  columns: readonly Column[],
  tenantColumn: string,
  tenant: string,
  mark: string,
): string {
  const used = columns.filter((column) => !column.identity);
  const values = used.map((column) =>
    column.name === tenantColumn ? `'${tenant}'` : literalOf(column, mark),
  );
  return `INSERT INTO ${table} (${used.map(({ name }) => `"${name}"`).join(', ')}) VALUES (${values.join(', ')})`;
}

/** One row of each of two tenants in every table, as the owner, foreign keys unchecked. */
export async function seedTwoTenants(sql: RunSql): Promise<void> {
  await sql("SET session_replication_role = 'replica'");
  for (const { name, tenantColumn } of await tenantTables(sql)) {
    const columns = await columnsOf(sql, name);
    for (const tenant of [VICTIM, ATTACKER]) {
      await sql(insertOf(name, columns, tenantColumn, tenant, tenant));
    }
  }
  await sql("SET session_replication_role = 'origin'");
}

/** Tables in which the app role, with the attacker's tenant set, sees rows of somebody else. Inside a transaction. */
export async function readsForeignRows(sql: RunSql): Promise<string[]> {
  const seen: string[] = [];
  const tables = await tenantTables(sql);
  await sql('SET LOCAL ROLE bulkhead_app');
  await sql("SELECT set_config('app.tenant', $1, true)", [ATTACKER]);
  for (const { name, tenantColumn } of tables) {
    const readable = await sql<{ yes: boolean }>('SELECT has_table_privilege($1, $2) AS yes', [
      name,
      'SELECT',
    ]);
    if (!readable[0]?.yes) continue;
    const rows = await sql(`SELECT FROM ${name} WHERE ${tenantColumn} <> $1`, [ATTACKER]);
    if (rows.length > 0) seen.push(name);
  }
  await sql('RESET ROLE');
  return seen;
}
