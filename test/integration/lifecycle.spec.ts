import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, it, vi } from 'vitest';
import { LIFECYCLE_PLACE, LIFECYCLE_STEPS, placementOf } from '@bulkhead/contract';
import type { LifecycleKind, TenantId } from '@bulkhead/contract';
import { openConnection } from '@bulkhead/runtime/client';
import { openControlDoor } from '@bulkhead/prisma/control';
import { newUlid } from '@bulkhead/runtime/ulid';
import { createTokenMinter } from '@bulkhead/runtime/tokens';
import { latestLifecycle, requestLifecycle } from '@bulkhead/tenancy/admin';
import type { Lifecycle, LifecycleOrder } from '@bulkhead/tenancy/admin';
import { tenantTables } from '../support/catalog.js';
import { makeDemoTenant } from '../support/demo-tenant.js';
import { openHostWorld } from '../support/host-world.js';
import type { HostWorld } from '../support/host-world.js';
import type { RunningMain } from '../support/processes.js';

/** Both mains, real servers: what is done to a tenant from its first day to its last. */
const CALLS = 12;
/** That the tenant was there, what was done to it, that its keys are destroyed, which token keys it had. */
const STAYS = ['lifecycles', 'tenant_keys', 'tenants', 'token_keys'];
let world: HostWorld;
let host: RunningMain;

beforeAll(async () => {
  world = await openHostWorld({ delayMs: 300 });
  host = await world.startHost();
});
afterAll(async () => {
  await host.stop();
  await world.close();
});

const BY = { actor: 'operator:test', reason: 'the test says so' };
const order = (tenantId: TenantId, what: LifecycleOrder): Promise<{ created: boolean }> =>
  requestLifecycle(world.door.tenant(tenantId), { order: what, ...BY, ulid: newUlid(Date.now()) });

async function latest(tenantId: TenantId): Promise<Lifecycle> {
  const lifecycle = await latestLifecycle(world.door.tenant(tenantId));
  if (!lifecycle) throw new Error('nothing was done to the tenant');
  return lifecycle;
}
const until = (tenantId: TenantId, kind: LifecycleKind, state: Lifecycle['state']): Promise<Lifecycle> =>
  vi.waitFor(
    async () => {
      const lifecycle = await latest(tenantId);
      expect(lifecycle).toMatchObject({ kind, state });
      return lifecycle;
    },
    { timeout: 60_000, interval: 50 },
  );
async function statusOf(tenantId: TenantId): Promise<string | undefined> {
  const [row] = await world.database.asOwner<{ status: string }>('SELECT status FROM tenants WHERE id = $1', [
    tenantId,
  ]);
  return row?.status;
}
const newTenant = async (): Promise<TenantId> => {
  const tenantId = await makeDemoTenant(world.door, world.keyRing, world.services, { like: 'acme' });
  await until(tenantId, 'provision', 'completed');
  return tenantId;
};
const startChain = (tenantId: TenantId) =>
  world.accept(tenantId, 'long-chain', { ticketId: 'T-1001', segments: 2, callsPerSegment: CALLS / 2 });
const requests = async (): Promise<number> => (await world.services.effects()).requests;

it('a new tenant is provisioned in steps that can be seen, each with its times', async () => {
  const tenantId = await newTenant();
  const lifecycle = await latest(tenantId);
  expect(lifecycle.steps.map(({ name }) => name)).toEqual(LIFECYCLE_STEPS.provision);
  for (const { startedAt, doneAt } of lifecycle.steps)
    expect(doneAt?.getTime()).toBeGreaterThanOrEqual(startedAt.getTime());
  expect(await statusOf(tenantId)).toBe('active');
});

it('a suspended tenant stops in the middle of a run, and goes on exactly there when it is resumed', async () => {
  const tenantId = await newTenant();
  const before = await requests();
  const id = await startChain(tenantId);
  await vi.waitFor(async () => expect(await requests()).toBeGreaterThan(before + 1), { timeout: 30_000 });
  expect(await order(tenantId, { kind: 'suspend' })).toEqual({ created: true });
  const suspended = await until(tenantId, 'suspend', 'completed');
  expect(suspended.steps.map(({ name }) => name)).toEqual(LIFECYCLE_STEPS.suspend);
  expect(await statusOf(tenantId)).toBe('suspended');

  const stopped = await requests();
  expect(stopped).toBeLessThan(before + CALLS);
  await expect(startChain(tenantId)).rejects.toMatchObject({ code: 'TENANT_SUSPENDED' });
  await expect(order(tenantId, { kind: 'suspend' })).rejects.toMatchObject({ code: 'INVALID_STATE' });
  // longer than a call takes: nothing goes on
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  expect(await requests()).toBe(stopped);

  await order(tenantId, { kind: 'resume' });
  await until(tenantId, 'resume', 'completed');
  await world.until(tenantId, id, 'completed', 90_000);
  expect(await requests()).toBe(before + CALLS);
}, 240_000);

it('an offboarding that is taken back leaves the tenant as it was', async () => {
  const tenantId = await newTenant();
  await order(tenantId, { kind: 'offboard', graceSeconds: 3_600 });
  const waiting = await until(tenantId, 'offboard', 'waiting');
  expect(waiting.graceUntil?.getTime()).toBeGreaterThan(Date.now() + 3_000_000);
  expect(await statusOf(tenantId)).toBe('offboarding');
  await expect(order(tenantId, { kind: 'resume' })).rejects.toMatchObject({ code: 'INVALID_STATE' });
  await order(tenantId, { kind: 'reinstate' });
  expect(await until(tenantId, 'offboard', 'reinstated')).toMatchObject({ reinstatedBy: BY.actor });
  expect(await statusOf(tenantId)).toBe('active');
  await world.until(tenantId, await startChain(tenantId), 'completed', 60_000);
}, 240_000);

it('an offboarded tenant leaves a tombstone and an export, and nothing of its neighbour changes', async () => {
  const [tenantId, neighbour] = await Promise.all([newTenant(), newTenant()]);
  await world.until(tenantId, await startChain(tenantId), 'completed', 60_000);
  await world.until(neighbour, await startChain(neighbour), 'completed', 60_000);
  await sealed();
  const before = await rowsOf(neighbour);

  await order(tenantId, { kind: 'offboard', graceSeconds: 1 });
  await until(tenantId, 'offboard', 'completed');
  expect(await statusOf(tenantId)).toBe('offboarded');
  expect(Object.keys(await rowsOf(tenantId)).sort()).toEqual(STAYS);
  expect(
    await world.database.asOwner(
      'SELECT length(wrapped) AS bytes, state FROM tenant_keys WHERE tenant_id = $1',
      [tenantId],
    ),
  ).toEqual([{ bytes: 0, state: 'destroyed' }]);
  expect(await rowsOf(neighbour)).toEqual(before);

  const { id } = await latest(tenantId);
  const text = await readFile(join(world.dataDir, 'exports', `${id}.jsonl`), 'utf8');
  const lines = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { kind: string; lines?: number });
  expect(lines.at(-1)).toEqual({ kind: 'end', lines: lines.length - 1 });
  expect(lines.filter(({ kind }) => kind === 'effect')).toHaveLength(CALLS);

  // not even with the whole cluster's power
  const { temporal, keys } = inject('servers');
  const minter = createTokenMinter({ signingKeyPath: keys.temporalSigning, ttlSeconds: 60 });
  const admin = openConnection({ address: temporal.address, token: () => minter.system('admin') });
  const { namespace } = placementOf(tenantId);
  await expect(admin.workflowService.describeNamespace({ namespace })).rejects.toMatchObject({ code: 5 });
  await admin.close();
  for (const kind of ['resume', 'reinstate', 'suspend'] as const)
    await expect(order(tenantId, { kind })).rejects.toMatchObject({ code: 'INVALID_STATE' });
}, 240_000);

it("a tenant's token opens nothing of the platform's own namespace", async () => {
  const tenantId = await newTenant();
  const { temporal, keys } = inject('servers');
  const minter = createTokenMinter({ signingKeyPath: keys.temporalSigning, ttlSeconds: 60 });
  const token = (): string => minter.tenant(tenantId, 'write');
  const connection = openConnection({ address: temporal.address, token });
  const { namespace } = LIFECYCLE_PLACE;
  const workflowExecution = { workflowId: (await latest(tenantId)).id };
  const { workflowService } = connection;
  for (const ask of [
    () => workflowService.describeNamespace({ namespace }),
    () => workflowService.listWorkflowExecutions({ namespace }),
    () => workflowService.terminateWorkflowExecution({ namespace, workflowExecution }),
    () => workflowService.signalWorkflowExecution({ namespace, workflowExecution, signalName: 'x' }),
  ])
    await expect(ask()).rejects.toMatchObject({ code: 7 });
  await connection.close();
});

it('every table with a tenant can be erased: a new one calls make_erasable in its migration', async () => {
  const tables = await tenantTables(sql);
  const erasable = await world.database.asOwner<{ name: string }>(
    "SELECT tablename AS name FROM pg_policies WHERE policyname = 'erase' AND cmd = 'DELETE' ORDER BY 1",
  );
  const wanted = tables.map(({ name }) => name).filter((name) => !STAYS.includes(name));
  expect(erasable.map(({ name }) => name)).toEqual(wanted);
});

it('the control door deletes nothing of a tenant that is not being erased', async () => {
  const tenantId = await newTenant();
  const control = openControlDoor({ url: world.database.controlUrl, poolMax: 1, onError: () => undefined });
  await control.query('DELETE FROM agents WHERE tenant_id = $1', [tenantId]);
  await control.query('DELETE FROM journal_records WHERE tenant_id = $1', [tenantId]);
  await control.close();
  const { agents = [], journal_records: records = [] } = await rowsOf(tenantId);
  expect(agents.length).toBeGreaterThan(0);
  expect(records.length).toBeGreaterThan(0);
});

const sql = <Row>(text: string, values?: unknown[]): Promise<Row[]> =>
  world.database.asOwner(text, values) as Promise<Row[]>;

/** Rows per table that name the tenant. */
async function rowsOf(tenantId: TenantId): Promise<Record<string, string[]>> {
  const found: Record<string, string[]> = {};
  for (const { name, tenantColumn } of await tenantTables(sql)) {
    const rows = await sql<{ row: string }>(
      `SELECT t::text AS row FROM ${name} t WHERE ${tenantColumn} = $1 ORDER BY 1`,
      [tenantId],
    );
    if (rows.length > 0) found[name] = rows.map(({ row }) => row);
  }
  return found;
}

/** Until every record has its position: the sealer changes rows. */
const sealed = (): Promise<void> =>
  vi.waitFor(
    async () =>
      expect(await world.database.asOwner('SELECT 1 FROM journal_records WHERE seq IS NULL')).toEqual([]),
    { timeout: 10_000 },
  );
