import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openControlDoor } from '@bulkhead/prisma/control';
import type { ControlDb } from '@bulkhead/prisma/control';
import { openTenantDoor } from '@bulkhead/prisma/tenant';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import { tenantId } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import pg from 'pg';
import { TENANTLESS } from '../support/catalog.js';
import { freshDatabase } from '../support/database.js';
import type { TestDatabase } from '../support/database.js';

const ACME = tenantId('acme');
const GLOBEX = tenantId('globex');

describe('the two doors to the database', () => {
  let database: TestDatabase;
  let door: TenantDoor;
  let control: ControlDb;
  const errors: Error[] = [];

  beforeAll(async () => {
    database = await freshDatabase();
    door = openTenantDoor({ url: database.appUrl, poolMax: 4, onError: (error) => errors.push(error) });
    control = openControlDoor({
      url: database.controlUrl,
      poolMax: 2,
      onError: (error) => errors.push(error),
    });
    for (const id of [ACME, GLOBEX]) {
      await door.tenant(id).run(async (db) => {
        await db.tenant.create({
          data: { id, name: id, namespace: `tnt-${id}`, taskQueue: `tnt-${id}.agents` },
        });
        await db.workspace.create({ data: { tenantId: id, id: 'main', name: `${id} main` } });
      });
    }
  });
  afterAll(async () => {
    await door.close();
    await control.close();
    await database.drop();
  });

  const asApp = async (statements: string[]): Promise<pg.QueryResult> => {
    const client = new pg.Client({ connectionString: database.appUrl });
    await client.connect();
    try {
      let last: pg.QueryResult | undefined;
      for (const sql of statements) last = await client.query(sql);
      if (!last) throw new Error('no statement');
      return last;
    } finally {
      await client.end();
    }
  };

  it('shows a tenant its own rows and nothing of the other', async () => {
    const seen = await door.tenant(ACME).run((db) => db.workspace.findMany());
    expect(seen.map((row) => row.tenantId)).toEqual(['acme']);
  });

  it('refuses to write a row for another tenant', async () => {
    const attempt = door
      .tenant(GLOBEX)
      .run((db) => db.workspace.create({ data: { tenantId: ACME, id: 'stolen', name: 'x' } }));
    await expect(attempt).rejects.toThrow(/row-level security/);
  });

  it('refuses to move an own row to another tenant', async () => {
    const attempt = door
      .tenant(GLOBEX)
      .run((db) => db.workspace.updateMany({ where: { id: 'main' }, data: { tenantId: ACME, id: 'moved' } }));
    await expect(attempt).rejects.toThrow(/row-level security/);
  });

  it('treats an omitted, empty or malformed tenant as an error, never as all tenants', () => {
    for (const bad of [undefined, '', 'ACME', "acme' or '1'='1", 'a.b']) {
      expect(() => door.tenant(bad as TenantId)).toThrow('tenantId is not a valid id');
    }
  });

  it.each(['SELECT 1', "SELECT set_config('app.tenant', '', false)"])(
    'raises on every tenant table when no tenant is set (after %s)',
    async (before) => {
      const tables = await database.asOwner<{ relname: string }>(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
      );
      for (const { relname } of tables.filter((table) => !TENANTLESS.includes(table.relname))) {
        await expect(asApp([before, `SELECT * FROM "${relname}"`]), relname).rejects.toMatchObject({
          code: '42501',
        });
      }
    },
  );

  it('forgets the tenant when a pooled connection is used again', async () => {
    const small = openTenantDoor({
      url: database.appUrl,
      poolMax: 1,
      onError: (error) => errors.push(error),
    });
    await small.tenant(ACME).run((db) => db.workspace.findMany());
    await expect(
      small.tenant(ACME).run(async () => {
        throw new Error('rolled back');
      }),
    ).rejects.toThrow('rolled back');
    const seen = await small.tenant(GLOBEX).run((db) => db.workspace.findMany());
    expect(seen.map((row) => row.tenantId)).toEqual(['globex']);
    await small.close();
  });

  it('has row level security enabled and forced, with USING and WITH CHECK, on each table with a tenant', async () => {
    const rows = await database.asOwner<{
      relname: string;
      relrowsecurity: boolean;
      relforcerowsecurity: boolean;
      policies: number;
    }>(
      `SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity,
              (SELECT count(*)::int FROM pg_policies p WHERE p.tablename = c.relname AND 'bulkhead_app' = ANY (p.roles)
                 AND p.qual LIKE '%app_tenant()%' AND p.with_check LIKE '%app_tenant()%') AS policies
         FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace`,
    );
    const guarded = rows.filter((row) => !TENANTLESS.includes(row.relname));
    expect(guarded.length).toBeGreaterThan(20);
    for (const row of guarded) {
      expect(row, row.relname).toMatchObject({
        relrowsecurity: true,
        relforcerowsecurity: true,
        policies: 1,
      });
    }
  });

  it('gives the door roles no way around the policies', async () => {
    const roles = await database.asOwner<{ rolname: string }>(
      `SELECT r.rolname FROM pg_roles r WHERE r.rolname LIKE 'bulkhead\\_%'
          AND (r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb
            OR EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid)
            OR EXISTS (SELECT FROM pg_class c WHERE c.relowner = r.oid))`,
    );
    expect(roles).toEqual([]);
    // the one function with the owner's rights is a trigger that nobody can call: it writes what no role may write
    const definers = await database.asOwner(
      `SELECT proname, prorettype::regtype::text AS returns, proconfig[1] AS path FROM pg_proc
        WHERE prosecdef AND pronamespace = 'public'::regnamespace`,
    );
    expect(definers).toEqual([
      { proname: 'note_operator', returns: 'trigger', path: 'search_path=public, pg_temp' },
    ]);
  });

  it('keeps journal records and decisions append-only for the tenant door', async () => {
    for (const statement of [
      'UPDATE journal_records SET body = body',
      'DELETE FROM journal_records',
      'UPDATE decisions SET kind = kind',
      'DELETE FROM effects',
    ]) {
      await expect(
        asApp(["SELECT set_config('app.tenant', 'acme', false)", statement]),
        statement,
      ).rejects.toMatchObject({ code: '42501' });
    }
  });

  it('attack: a record that takes the position which the sealer will need', async () => {
    for (const statement of [
      "INSERT INTO journal_records (tenant_id, kind, body, seq) VALUES ('acme', 'control', '{}', 1)",
      "INSERT INTO journal_records (tenant_id, kind, body, hash) VALUES ('acme', 'control', '{}', '')",
      "INSERT INTO journal_records (tenant_id, id, kind, body) VALUES ('acme', 9000, 'control', '{}')",
    ]) {
      await expect(
        asApp(["SELECT set_config('app.tenant', 'acme', false)", statement]),
        statement,
      ).rejects.toMatchObject({ code: '42501' });
    }
  });

  it('attack: every connection is busy; a host still beats, or it would be fenced for being used', async () => {
    const small = openTenantDoor({
      url: database.appUrl,
      poolMax: 4,
      onError: (error) => errors.push(error),
    });
    await small.host('host_register', 'busy-host');
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const inside: string[] = [];
    const busy = ['acme', 'globex', 'initech', 'umbrella'].map((name) =>
      small.tenant(tenantId(name)).run(async () => {
        inside.push(name);
        await held;
      }),
    );
    while (inside.length < 4) await new Promise((resolve) => setTimeout(resolve, 10));
    const beat = await Promise.race([
      small.host('host_beat', 'busy-host'),
      new Promise((resolve) => setTimeout(() => resolve('no beat'), 2_000)),
    ]);
    release();
    await Promise.all(busy);
    await small.close();
    expect(beat).toEqual({ kind: 'ok' });
  });

  it('attack: a process that stops in the middle of a change; its lock does not stop the tenant for ever', async () => {
    const limits = await door.tenant(ACME).change(
      (db) => db.$queryRaw<{ ms: string }[]>`
        SELECT setting AS ms FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'`,
    );
    expect(limits).toEqual([{ ms: '30000' }]);
    const [sealer] = await control.query<{ ms: string }>(
      "SELECT setting AS ms FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'",
    );
    expect(sealer).toEqual({ ms: '30000' });
  });

  it('does not let a host lift its own fence', async () => {
    await door.host('host_register', 'host-1');
    await expect(asApp(["UPDATE hosts SET fenced = false WHERE id = 'host-1'"])).rejects.toMatchObject({
      code: '42501',
    });
    await control.query('UPDATE hosts SET fenced = true WHERE id = $1', ['host-1']);
    expect(await door.host('host_beat', 'host-1')).toEqual({ kind: 'fenced' });
  });

  it('keeps secrets, keys and policies out of the control door', async () => {
    for (const table of ['tenant_keys', 'secrets', 'secret_versions', 'policies', 'grants']) {
      await expect(control.query(`SELECT * FROM ${table}`), table).rejects.toMatchObject({ code: '42501' });
    }
  });

  it('lets a slow tenant hold at most its share of the connections', async () => {
    const held: (() => void)[] = [];
    const slow = Array.from({ length: 8 }, () =>
      door.tenant(ACME).run(async () => new Promise<void>((resolve) => held.push(resolve))),
    );
    const other = await door.tenant(GLOBEX).run((db) => db.workspace.count());
    expect(other).toBe(1);
    expect(held.length).toBeLessThanOrEqual(1);
    const drain = setInterval(() => held.shift()?.(), 5);
    await Promise.all(slow);
    clearInterval(drain);
  });

  it('answers a typed fault when the database is away', async () => {
    const away = openTenantDoor({
      url: 'postgresql://bulkhead_app:x@127.0.0.1:1/none',
      poolMax: 1,
      onError: (error) => errors.push(error),
    });
    await expect(away.tenant(ACME).call('decide', {})).rejects.toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
    });
    await expect(away.tenant(ACME).run((db) => db.workspace.count())).rejects.toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
    });
    await away.close();
  });
});
