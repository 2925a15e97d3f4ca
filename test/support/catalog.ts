/** What the database's own catalog says about row level security, judged. */

/** Runs SQL and returns its rows, on a connection of the caller's choice. */
export type RunSql = <Row>(sql: string, values?: unknown[]) => Promise<Row[]>;

/**
 * Tables without a tenant: hosts are machines, platform_control is one row, operators of the platform are members of no
 * tenant (the tenant door has no grant on their tables), the last is Prisma's own.
 */
export const TENANTLESS = [
  'hosts',
  'platform_control',
  'platform_operators',
  'platform_journal',
  'operator_sessions',
  '_prisma_migrations',
];
/** Unique across tenants on purpose: they are looked up before the tenant is known. Their values are random or names. */
const GLOBAL_UNIQUE = ['api_keys_prefix_key', 'sessions_hash_key', 'tenants_namespace_key'];

export interface TenantTable {
  readonly name: string;
  /** The column that holds the tenant: `tenant_id`, or `id` for the tenants themselves. */
  readonly tenantColumn: string;
}

/** Every table that must be behind row level security: each one that is not known to have no tenant. */
export async function tenantTables(sql: RunSql): Promise<TenantTable[]> {
  const rows = await sql<{ name: string }>(
    "SELECT relname AS name FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace ORDER BY 1",
  );
  return rows
    .filter(({ name }) => !TENANTLESS.includes(name))
    .map(({ name }) => ({ name, tenantColumn: name === 'tenants' ? 'id' : 'tenant_id' }));
}

/** Everything that is wrong with the catalog, a sentence each; empty when nothing is. */
export async function catalogFaults(sql: RunSql): Promise<string[]> {
  const tables = await tenantTables(sql);
  if (tables.length < 20) return [`only ${tables.length} tables with a tenant were found`];
  return [
    ...(await tableFaults(sql, tables)),
    ...(await policyFaults(sql, tables)),
    ...(await keyFaults(sql, tables)),
    ...(await grantFaults(sql)),
    ...(await roleFaults(sql)),
    ...(await codeFaults(sql)),
  ];
}

async function tableFaults(sql: RunSql, tables: readonly TenantTable[]): Promise<string[]> {
  const rows = await sql<{ name: string; on: boolean; forced: boolean; column: string | null }>(
    `SELECT c.relname AS name, c.relrowsecurity AS on, c.relforcerowsecurity AS forced,
            (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND a.attnotnull) AS column
       FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')`,
  );
  return tables.flatMap(({ name, tenantColumn }) => {
    const row = rows.find((candidate) => candidate.name === name);
    return [
      ...(row?.on ? [] : [`${name}: row level security is not enabled`]),
      ...(row?.forced ? [] : [`${name}: row level security is not forced`]),
      ...(tenantColumn === 'tenant_id' && row?.column !== 'tenant_id'
        ? [`${name}: no tenant_id NOT NULL`]
        : []),
    ];
  });
}

interface PolicyRow {
  readonly table: string;
  readonly name: string;
  readonly roles: string[];
  readonly permissive: string;
  readonly cmd: string;
  readonly qual: string | null;
  readonly check: string | null;
}

/** One policy for the tenant door, of exactly the known form, and none for anybody else than the two doors. */
async function policyFaults(sql: RunSql, tables: readonly TenantTable[]): Promise<string[]> {
  const policies = await sql<PolicyRow>(
    `SELECT tablename AS table, policyname AS name, roles::text[] AS roles, permissive, cmd, qual, with_check AS check
       FROM pg_policies WHERE schemaname = 'public'`,
  );
  const faults = policies
    .filter(({ roles }) => roles.some((role) => !['bulkhead_app', 'bulkhead_control'].includes(role)))
    .map(({ table, name, roles }) => `${table}: policy ${name} is for ${roles.join(', ')}`);
  for (const { name, tenantColumn } of tables) {
    const own = policies.filter((row) => row.table === name && row.roles.includes('bulkhead_app'));
    // not (SELECT app_tenant()): that one is silent without a tenant as long as the table is empty
    const wanted = `(${tenantColumn} = app_tenant())`;
    const fits = own.filter(
      (row) =>
        row.cmd === 'ALL' &&
        row.permissive === 'PERMISSIVE' &&
        normal(row.qual) === normal(wanted) &&
        normal(row.check) === normal(wanted),
    );
    if (own.length !== 1 || fits.length !== 1) {
      faults.push(`${name}: ${own.length} policies for the tenant door, ${fits.length} of the known form`);
    }
  }
  return faults;
}

const normal = (text: string | null): string =>
  (text ?? '').replaceAll(/\s+/g, ' ').replaceAll('( ', '(').trim();

/** Primary and unique keys are led by the tenant, or one tenant's row could stand in the way of another's. */
async function keyFaults(sql: RunSql, tables: readonly TenantTable[]): Promise<string[]> {
  const rows = await sql<{ table: string; index: string; first: string; primary: boolean }>(
    `SELECT c.relname AS table, x.relname AS index, a.attname AS first, i.indisprimary AS primary
       FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
       LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
      WHERE i.indisunique AND c.relnamespace = 'public'::regnamespace`,
  );
  return tables.flatMap(({ name, tenantColumn }) => {
    const own = rows.filter((row) => row.table === name);
    const wrong = own.filter((row) => row.first !== tenantColumn && !GLOBAL_UNIQUE.includes(row.index));
    return [
      ...wrong.map((row) => `${name}: key ${row.index} is not led by ${tenantColumn}`),
      ...(own.some((row) => row.primary) ? [] : [`${name}: no primary key`]),
    ];
  });
}

async function grantFaults(sql: RunSql): Promise<string[]> {
  const rows = await sql<{ what: string }>(
    `SELECT format('PUBLIC may %s %s', g.privilege_type, c.relname) AS what
       FROM pg_class c, aclexplode(c.relacl) g
      WHERE c.relnamespace = 'public'::regnamespace AND g.grantee = 0
     UNION ALL
     SELECT format('%s may TRUNCATE, TRIGGER or REFERENCES %s', g.grantee::regrole, c.relname)
       FROM pg_class c, aclexplode(c.relacl) g
      WHERE c.relnamespace = 'public'::regnamespace AND g.grantee::regrole::text LIKE 'bulkhead\\_%'
        AND g.privilege_type IN ('TRUNCATE', 'TRIGGER', 'REFERENCES', 'MAINTAIN')
     UNION ALL
     SELECT format('PUBLIC may %s function %s', g.privilege_type, p.proname)
       FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g
      WHERE p.pronamespace = 'public'::regnamespace AND g.grantee = 0
     UNION ALL
     SELECT format('PUBLIC may execute what %s makes from now on', r.rolname) FROM pg_roles r
      WHERE r.oid = (SELECT c.relowner FROM pg_class c WHERE c.oid = 'runs'::regclass)
        AND NOT EXISTS (SELECT FROM pg_default_acl d WHERE d.defaclrole = r.oid AND d.defaclobjtype = 'f' AND d.defaclnamespace = 0
          AND NOT EXISTS (SELECT FROM aclexplode(d.defaclacl) g WHERE g.grantee = 0))
     UNION ALL
     SELECT format('PUBLIC may %s the schema', g.privilege_type)
       FROM pg_namespace n, aclexplode(n.nspacl) g WHERE n.nspname = 'public' AND g.grantee = 0
     UNION ALL
     SELECT format('%s may create in the schema', r.rolname)
       FROM pg_roles r WHERE r.rolname LIKE 'bulkhead\\_%' AND has_schema_privilege(r.oid, 'public', 'CREATE')`,
  );
  return rows.map(({ what }) => what);
}

async function roleFaults(sql: RunSql): Promise<string[]> {
  const rows = await sql<{ what: string }>(
    `SELECT format('%s is more than a door', r.rolname) AS what FROM pg_roles r
      WHERE r.rolname IN ('bulkhead_app', 'bulkhead_control')
        AND (r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication
          OR EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid)
          OR EXISTS (SELECT FROM pg_class c WHERE c.relowner = r.oid AND c.relpersistence <> 't')
          OR EXISTS (SELECT FROM pg_database d WHERE d.datdba = r.oid))
     UNION ALL
     SELECT 'a door role is missing' WHERE
       (SELECT count(*) FROM pg_roles WHERE rolname IN ('bulkhead_app', 'bulkhead_control')) <> 2`,
  );
  return rows.map(({ what }) => what);
}

/** Views run as their reader; a function that runs as its owner pins its search_path, or it would run anybody's code. */
async function codeFaults(sql: RunSql): Promise<string[]> {
  const rows = await sql<{ what: string }>(
    `SELECT format('view %s is not security_invoker', c.relname) AS what FROM pg_class c
      WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('v', 'm')
        AND NOT coalesce(c.reloptions @> ARRAY['security_invoker=true'] OR c.reloptions @> ARRAY['security_invoker=on'], false)
     UNION ALL
     SELECT format('function %s is SECURITY DEFINER without a pinned search_path', p.proname) FROM pg_proc p
      WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef
        AND NOT coalesce(EXISTS (SELECT FROM unnest(p.proconfig) s WHERE s LIKE 'search_path=%'), false)`,
  );
  return rows.map(({ what }) => what);
}
