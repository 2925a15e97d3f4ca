import pg from 'pg';
import { catalogFaults, tenantTables } from '../support/catalog.js';
import type { RunSql } from '../support/catalog.js';
import { freshDatabase } from '../support/database.js';
import { readsForeignRows, seedTwoTenants } from '../support/two-tenants.js';
import { zeroOf } from './proof.js';
import type { Proof } from './proof.js';

/** A way to break isolation, and the check that must notice it. */
interface Mutation {
  readonly name: string;
  readonly sql: string;
  /** catalog: the catalog test turns red; rows: a foreign row is seen as well. */
  readonly noticedBy: 'catalog' | 'catalog and rows';
}

/**
 * The catalog has no exception, and each guard that is taken away turns the catalog test red; where that opens a table,
 * the attack of ISO-4 sees foreign rows too, so that attack can see them. Each mutation is rolled back on a clone.
 */
export const run: Proof = async ({ progress }) => {
  const database = await freshDatabase();
  const client = new pg.Client({ connectionString: database.ownerUrl });
  await client.connect();
  const sql: RunSql = async <Row>(text: string, values: unknown[] = []) =>
    (await client.query(text, values)).rows as Row[];
  try {
    await seedTwoTenants(sql);
    const faults = (await catalogFaults(sql)).map((fault) => `catalog: ${fault}`);
    if (faults.length > 0) return zeroOf('exceptions', 1, faults); // already red: mutations would show nothing
    const mutations = await mutationsOf(sql);
    for (const mutation of mutations) {
      const missed = await mutationMissed(sql, mutation);
      if (missed) faults.push(`not noticed: ${mutation.name} (${missed})`);
    }
    progress(`${mutations.length} mutations tried`);
    return zeroOf('exceptions or unnoticed mutations', mutations.length, faults);
  } finally {
    await client.end();
    await database.drop();
  }
};

async function mutationMissed(sql: RunSql, mutation: Mutation): Promise<string | undefined> {
  await sql('BEGIN');
  try {
    await sql(mutation.sql);
    if ((await catalogFaults(sql)).length === 0) return 'the catalog test stayed green';
    if (mutation.noticedBy === 'catalog and rows' && (await readsForeignRows(sql)).length === 0) {
      return 'no foreign row was seen';
    }
    return undefined;
  } finally {
    await sql('ROLLBACK');
  }
}

async function mutationsOf(sql: RunSql): Promise<Mutation[]> {
  const tables = await tenantTables(sql);
  return [
    ...tables.flatMap(({ name, tenantColumn }) => mutationsOfTable(name, tenantColumn)),
    { name: 'BYPASSRLS', sql: 'ALTER ROLE bulkhead_app BYPASSRLS', noticedBy: 'catalog and rows' },
    { name: 'membership', sql: 'GRANT pg_read_all_data TO bulkhead_app', noticedBy: 'catalog' },
    { name: 'schema', sql: 'GRANT CREATE ON SCHEMA public TO bulkhead_app', noticedBy: 'catalog' },
    { name: 'owner', sql: 'ALTER TABLE runs OWNER TO bulkhead_app', noticedBy: 'catalog' },
    { name: 'a new table', sql: 'CREATE TABLE later (id int)', noticedBy: 'catalog' },
    { name: 'a view', sql: 'CREATE VIEW seen AS SELECT * FROM runs', noticedBy: 'catalog' },
    {
      name: 'a definer',
      sql: "CREATE FUNCTION all_runs() RETURNS bigint SECURITY DEFINER LANGUAGE sql AS 'SELECT count(*) FROM runs'",
      noticedBy: 'catalog',
    },
    {
      name: 'a function for everybody',
      sql: 'GRANT EXECUTE ON FUNCTION admit(jsonb) TO PUBLIC',
      noticedBy: 'catalog',
    },
    {
      name: 'each later function for everybody',
      sql: 'ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC',
      noticedBy: 'catalog',
    },
  ];
}

const mutationsOfTable = (table: string, tenantColumn: string): Mutation[] => [
  { name: `${table}: drop the policy`, sql: `DROP POLICY tenant_only ON ${table}`, noticedBy: 'catalog' },
  {
    name: `${table}: disable`,
    sql: `ALTER TABLE ${table} DISABLE ROW LEVEL SECURITY`,
    noticedBy: 'catalog and rows',
  },
  {
    name: `${table}: no force`,
    sql: `ALTER TABLE ${table} NO FORCE ROW LEVEL SECURITY`,
    noticedBy: 'catalog',
  },
  {
    name: `${table}: USING (true)`,
    sql: `ALTER POLICY tenant_only ON ${table} USING (true)`,
    noticedBy: 'catalog and rows',
  },
  {
    name: `${table}: WITH CHECK (true)`,
    sql: `ALTER POLICY tenant_only ON ${table} WITH CHECK (true)`,
    noticedBy: 'catalog',
  },
  {
    name: `${table}: a second policy`,
    sql: `CREATE POLICY also ON ${table} TO bulkhead_app USING (${tenantColumn} IS NOT NULL)`,
    noticedBy: 'catalog and rows',
  },
  { name: `${table}: PUBLIC`, sql: `GRANT SELECT ON ${table} TO PUBLIC`, noticedBy: 'catalog' },
];
