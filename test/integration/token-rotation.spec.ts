import { randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, it, vi } from 'vitest';
import type { Connection } from '@temporalio/client';
import { placementOf } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import { openControlDoor } from '@bulkhead/prisma/control';
import type { ControlDb } from '@bulkhead/prisma/control';
import { openConnection } from '@bulkhead/runtime/client';
import { orderTokenKeys, revokeTokenKeys, tokenKeysInUse } from '@bulkhead/tenancy/control';
import type { KeyOwner } from '@bulkhead/tenancy/control';
import { makeDemoTenant } from '../support/demo-tenant.js';
import { openHostWorld } from '../support/host-world.js';
import type { HostWorld } from '../support/host-world.js';
import { isRefusal } from '../support/raw-temporal.js';
import type { RunningMain } from '../support/processes.js';

/** Both mains, the real server, tokens that live for 6 s: what a day does to tokens happens in seconds. */
const TTL_SECONDS = 6;
const CALLS = 40;
const PLATFORM = '_system';
let world: HostWorld;
let host: RunningMain;
let control: ControlDb;
const connections: Connection[] = [];

beforeAll(async () => {
  world = await openHostWorld({ delayMs: 250, tokenTtlSeconds: TTL_SECONDS });
  host = await world.startHost();
  control = openControlDoor({ url: world.database.controlUrl, poolMax: 2, onError: () => undefined });
});
afterAll(async () => {
  for (const connection of connections) await connection.close();
  await host.stop();
  await control.close();
  await world.close();
});

const inUse = async (owner: KeyOwner): Promise<number> => (await tokenKeysInUse(control)).get(owner) ?? 0;

/** Orders the owner's next key and waits until it signs. */
async function rotate(owner: KeyOwner): Promise<void> {
  const before = await inUse(owner);
  expect(await orderTokenKeys(control, owner)).toEqual([{ owner, generation: before + 1 }]);
  await vi.waitFor(async () => expect(await inUse(owner)).toBe(before + 1), { timeout: 10_000 });
}

async function hostToken(tenantId: TenantId): Promise<string> {
  const hosts = join(world.dataDir, 'tokens', 'hosts');
  const [id = ''] = await readdir(hosts);
  return readFile(join(hosts, id, `${tenantId}.write.jwt`), 'utf8');
}

/** A thief's connection with a copied token. */
function withToken(token: string): Connection {
  const connection = openConnection({ address: inject('servers').temporal.address, token: () => token });
  connections.push(connection);
  return connection;
}

const QUESTIONS: Record<string, (connection: Connection, tenantId: TenantId) => Promise<unknown>> = {
  describe: (connection, tenantId) =>
    connection.workflowService.describeNamespace({ namespace: placementOf(tenantId).namespace }),
  start: (connection, tenantId) =>
    connection.workflowService.startWorkflowExecution({
      namespace: placementOf(tenantId).namespace,
      workflowId: randomUUID(),
      workflowType: { name: 'stolen' },
      taskQueue: { name: 'nobody-polls-this' },
      requestId: randomUUID(),
    }),
  poll: (connection, tenantId) =>
    connection.workflowService.pollActivityTaskQueue({
      namespace: placementOf(tenantId).namespace,
      taskQueue: { name: 'nobody-polls-this' },
      identity: 'thief',
    }),
};

/** Which questions the server refuses for want of permission; a poll that finds nothing in time was let in. */
async function refused(connection: Connection, tenantId: TenantId): Promise<string[]> {
  const names: string[] = [];
  for (const [name, ask] of Object.entries(QUESTIONS)) {
    try {
      await connection.withDeadline(Date.now() + 1_500, () => ask(connection, tenantId));
    } catch (error) {
      if (isRefusal(error)) names.push(name);
    }
  }
  return names;
}

it('a chain of calls runs across many renewals and two rotations of every key, and not one poll is refused', async () => {
  const tenantId = await makeDemoTenant(world.door, world.keyRing, world.services, { like: 'acme' });
  const id = await world.accept(tenantId, 'long-chain', {
    ticketId: 'T-1001',
    segments: 2,
    callsPerSegment: CALLS / 2,
  });
  await world.until(tenantId, id, 'running');
  const tokens = new Set<string>();
  const watch = setInterval(() => {
    void hostToken(tenantId).then((token) => tokens.add(token));
  }, 200);
  await rotate(tenantId);
  await rotate(PLATFORM);
  const second = await hostToken(tenantId);
  await rotate(tenantId);
  await rotate(PLATFORM);
  // the old keys end now, not after the last of their tokens: what still used one would fail
  await vi.waitFor(async () => expect(await hostToken(tenantId)).not.toBe(second));
  await world.database.asOwner("UPDATE token_keys SET retires_at = now() WHERE state = 'retiring'");
  await vi.waitFor(
    async () => expect(await refused(withToken(second), tenantId)).toEqual(Object.keys(QUESTIONS)),
    { timeout: 15_000 },
  );
  await world.until(tenantId, id, 'completed', 60_000);
  clearInterval(watch);

  expect(tokens.size).toBeGreaterThanOrEqual(4);
  expect(await world.services.effects()).toMatchObject({ requests: CALLS });
  for (const process of [host, world.control])
    expect(await readFile(process.logFile, 'utf8')).not.toMatch(/permission|unauthorized|denied/i);
});

it('a revoked token opens nothing within two seconds, its files are gone, and a tenant that returns has another key', async () => {
  const tenantId = await makeDemoTenant(world.door, world.keyRing, world.services, { like: 'acme' });
  await vi.waitFor(async () => expect(await inUse(tenantId)).toBe(1), { timeout: 10_000 });
  await vi.waitFor(() => hostToken(tenantId), { timeout: 10_000 });
  // far from its own end: what refuses it is the revocation
  const stolen = withToken(await hostToken(tenantId));
  expect(await refused(stolen, tenantId)).toEqual([]);

  await world.database.asOwner("UPDATE tenants SET status = 'suspended' WHERE id = $1", [tenantId]);
  expect(await revokeTokenKeys(control, tenantId)).toBe(1);
  await orderTokenKeys(control, tenantId); // the hint; a tenant without a key in use gets none
  const sinceMs = performance.now();
  await vi.waitFor(async () => expect(await refused(stolen, tenantId)).toEqual(Object.keys(QUESTIONS)), {
    timeout: 5_000,
    interval: 20,
  });
  const tookMs = Math.round(performance.now() - sinceMs);
  console.log(`a revoked token was refused after ${tookMs} ms`);
  await vi.waitFor(() => expect(hostToken(tenantId)).rejects.toThrow('ENOENT'));
  expect(await readdir(join(world.dataDir, 'tokens', 'api'))).not.toContain(`${tenantId}.read.jwt`);

  await world.database.asOwner("UPDATE tenants SET status = 'active' WHERE id = $1", [tenantId]);
  await orderTokenKeys(control, tenantId);
  await vi.waitFor(async () => expect(await inUse(tenantId)).toBe(2), { timeout: 15_000 });
  await vi.waitFor(() => hostToken(tenantId), { timeout: 10_000 });
  expect(await refused(withToken(await hostToken(tenantId)), tenantId)).toEqual([]);
  expect(await refused(stolen, tenantId)).toEqual(Object.keys(QUESTIONS));
});
