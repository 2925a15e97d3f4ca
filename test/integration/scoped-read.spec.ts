import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tenantId } from '@bulkhead/contract';
import { openTenantDoor } from '@bulkhead/prisma/tenant';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import { freshDatabase } from '../support/database.js';
import type { TestDatabase } from '../support/database.js';

const ACME = tenantId('acme');
const GLOBEX = tenantId('globex');
const ALL = { name: 'all_workspaces', text: 'SELECT tenant_id, id FROM workspaces ORDER BY id' };

describe('the one-trip read of the tenant door', () => {
  let database: TestDatabase;
  let door: TenantDoor;
  beforeAll(async () => {
    database = await freshDatabase();
    door = openTenantDoor({ url: database.appUrl, poolMax: 1, onError: () => undefined });
    await database.asOwner(
      "INSERT INTO workspaces VALUES ('acme', 'main', 'a'), ('acme', 'two', 'a'), ('globex', 'main', 'g')",
    );
  });
  afterAll(async () => {
    await door.close();
    await database.drop();
  });

  it('sees the own rows only, tenant after tenant over one connection', async () => {
    for (let round = 0; round < 3; round += 1) {
      expect(await door.tenant(ACME).read(ALL, [])).toEqual([
        { tenant_id: 'acme', id: 'main' },
        { tenant_id: 'acme', id: 'two' },
      ]);
      expect(await door.tenant(GLOBEX).read(ALL, [])).toEqual([{ tenant_id: 'globex', id: 'main' }]);
    }
  });

  it('asked for a foreign row by name answers as for one that does not exist', async () => {
    const one = { name: 'one_workspace', text: 'SELECT id FROM workspaces WHERE tenant_id = $1 AND id = $2' };
    expect(await door.tenant(GLOBEX).read(one, ['acme', 'two'])).toEqual([]);
    expect(await door.tenant(GLOBEX).read(one, ['globex', null])).toEqual([]);
    expect(await door.tenant(ACME).read(one, ['acme', 'two'])).toEqual([{ id: 'two' }]);
  });

  it('refuses to write, and works on after each kind of error', async () => {
    const bad = [
      { name: 'w1', code: '25006', text: "UPDATE workspaces SET name = 'x'" },
      { name: 'w2', code: '25006', text: "INSERT INTO workspaces VALUES ('globex', 'x', 'x')" },
      {
        name: 'w3',
        code: '22012',
        text: 'SELECT id FROM workspaces WHERE 1 / (length(id) - length(id)) = 1',
      },
      { name: 'w4', code: '42P01', text: 'SELECT nothing FROM nowhere' },
      { name: 'w5', code: '42601', text: 'SELECT 1; SELECT 2' },
    ];
    for (const { code, ...statement } of [...bad, ...bad]) {
      await expect(door.tenant(GLOBEX).read(statement, []), statement.text).rejects.toMatchObject({ code });
      expect(await door.tenant(GLOBEX).read(ALL, [])).toHaveLength(1);
    }
  });

  it('leaves no tenant behind on the connection', async () => {
    await door.tenant(ACME).read(ALL, []);
    const seen = await door
      .tenant(GLOBEX)
      .run((tx) => tx.$queryRaw`SELECT tenant_id FROM workspaces GROUP BY 1`);
    expect(seen).toEqual([{ tenant_id: 'globex' }]);
    const pool = new pg.Pool({ connectionString: database.appUrl, max: 1 });
    await expect(pool.query(ALL.text)).rejects.toMatchObject({ code: '42501' });
    await pool.end();
  });

  it('says that the database is away, as every other call does', async () => {
    const away = openTenantDoor({
      url: 'postgresql://bulkhead_app:x@127.0.0.1:1/none',
      poolMax: 1,
      onError: () => undefined,
    });
    await expect(away.tenant(ACME).read(ALL, [])).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    await away.close();
  });
});
