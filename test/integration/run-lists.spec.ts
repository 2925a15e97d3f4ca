import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildRunId, tenantId } from '@bulkhead/contract';
import { findRun, listRuns } from '@bulkhead/runs/admin';
import { openTenantDoor } from '@bulkhead/prisma/tenant';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import { freshDatabase } from '../support/database.js';
import type { TestDatabase } from '../support/database.js';

const ACME = tenantId('acme');
const GLOBEX = tenantId('globex');
const idOf = (tenant: typeof ACME, place: number) =>
  buildRunId(tenant, `01kb3v6r2e8m4q7x9z0a1b2${String(place).padStart(3, '0')}`);

describe('lists of runs', () => {
  let database: TestDatabase;
  let door: TenantDoor;

  beforeAll(async () => {
    database = await freshDatabase();
    door = openTenantDoor({ url: database.appUrl, poolMax: 2, onError: () => undefined });
    for (const tenant of [ACME, GLOBEX]) {
      for (let place = 0; place < 12; place += 1) {
        await database.asOwner(
          `INSERT INTO runs (tenant_id, id, workspace_id, agent_id, workflow_type, idempotency_key, input_digest, input, envelope, actor, state)
           VALUES ($1, $2, $3, 'a', 'w', $2, '\\x00', '{}', 'e', 'key:x', $4)`,
          [
            tenant,
            idOf(tenant, place),
            place % 3 === 0 ? 'blue' : 'red',
            place % 2 ? 'running' : 'completed',
          ],
        );
      }
    }
  });
  afterAll(async () => {
    await door.close();
    await database.drop();
  });

  const list = async (page: Parameters<typeof listRuns>[1]): Promise<number[]> => {
    const { nodes } = await listRuns(door.tenant(ACME), page);
    expect(nodes.every(({ id }) => id.startsWith('acme.run.'))).toBe(true);
    return nodes.map(({ id }) => Number(id.slice(-3)));
  };

  it('are newest first, page after page, without a gap or a repeat', async () => {
    const seen: number[] = [];
    let after: string | undefined;
    do {
      const page = await listRuns(door.tenant(ACME), { first: 5, after });
      seen.push(...page.nodes.map(({ id }) => Number(id.slice(-3))));
      after = page.endCursor;
    } while (after !== undefined);
    expect(seen).toEqual([11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
  });

  it('narrow by state and by workspace, together and after a cursor', async () => {
    expect(await list({ first: 20, state: 'running' })).toEqual([11, 9, 7, 5, 3, 1]);
    expect(await list({ first: 20, workspaces: ['blue'] })).toEqual([9, 6, 3, 0]);
    expect(await list({ first: 20, workspaces: ['blue'], state: 'running' })).toEqual([9, 3]);
    expect(await list({ first: 20, workspaces: ['blue'], after: idOf(ACME, 6) })).toEqual([3, 0]);
    expect(await list({ first: 2, workspaces: ['blue', 'red'] })).toEqual([11, 10]);
  });

  it('are empty for someone who reaches no workspace, which is not the same as no limit', async () => {
    expect(await list({ first: 20, workspaces: [] })).toEqual([]);
  });

  it("attack: another tenant's cursor, and another tenant's run by its id", async () => {
    await expect(listRuns(door.tenant(ACME), { first: 5, after: idOf(GLOBEX, 3) })).rejects.toMatchObject({
      code: 'BAD_INPUT',
      field: 'after',
    });
    expect(await findRun(door.tenant(ACME), idOf(GLOBEX, 3))).toBeUndefined();
    expect((await findRun(door.tenant(GLOBEX), idOf(GLOBEX, 3)))?.workspaceId).toBe('blue');
  });
});
