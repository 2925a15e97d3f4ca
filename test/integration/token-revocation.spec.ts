import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { Connection } from '@temporalio/client';
import type { TenantId } from '@bulkhead/contract';
import { openControlDoor } from '@bulkhead/prisma/control';
import type { ControlDb } from '@bulkhead/prisma/control';
import { orderTokenKeys, revokeTokenKeys, tokenKeysInUse } from '@bulkhead/tenancy/control';
import { makeDemoTenant } from '../support/demo-tenant.js';
import { openHostWorld } from '../support/host-world.js';
import type { HostWorld } from '../support/host-world.js';
import type { RunningMain } from '../support/processes.js';
import { QUESTIONS, refused, withToken } from '../support/token-thief.js';

/** Both mains and the real server. Tokens live for ten minutes here, so what refuses one is never its own end. */
let world: HostWorld;
let host: RunningMain;
let control: ControlDb;
const connections: Connection[] = [];

beforeAll(async () => {
  world = await openHostWorld({ delayMs: 0 });
  host = await world.startHost();
  control = openControlDoor({ url: world.database.controlUrl, poolMax: 2, onError: () => undefined });
});
afterAll(async () => {
  for (const connection of connections) await connection.close();
  await host.stop();
  await control.close();
  await world.close();
});

const inUse = async (tenantId: TenantId): Promise<number> =>
  (await tokenKeysInUse(control)).get(tenantId) ?? 0;

function steal(token: string): Connection {
  const connection = withToken(token);
  connections.push(connection);
  return connection;
}

async function hostToken(tenantId: TenantId): Promise<string> {
  const hosts = join(world.dataDir, 'tokens', 'hosts');
  const [id = ''] = await readdir(hosts);
  return readFile(join(hosts, id, `${tenantId}.write.jwt`), 'utf8');
}

/** A tenant whose namespace is there and whose token a host has. */
async function newTenant(): Promise<TenantId> {
  const tenantId = await makeDemoTenant(world.door, world.keyRing, world.services, { like: 'acme' });
  const active = (): Promise<unknown[]> =>
    world.database.asOwner("SELECT 1 FROM tenants WHERE id = $1 AND status = 'active'", [tenantId]);
  await vi.waitFor(async () => expect(await active()).toHaveLength(1), { timeout: 40_000 });
  await vi.waitFor(() => hostToken(tenantId), { timeout: 20_000 });
  return tenantId;
}

it('a revoked token opens nothing within two seconds, its files are gone, and a tenant that returns has another key', async () => {
  const tenantId = await newTenant();
  const stolen = steal(await hostToken(tenantId));
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
  expect(await refused(steal(await hostToken(tenantId)), tenantId)).toEqual([]);
  expect(await refused(stolen, tenantId)).toEqual(Object.keys(QUESTIONS));
}, 180_000);

it('a key that is rotated out and dropped takes its last tokens with it, and the new ones go on', async () => {
  const tenantId = await newTenant();
  const old = steal(await hostToken(tenantId));
  await orderTokenKeys(control, tenantId);
  await vi.waitFor(async () => expect(await inUse(tenantId)).toBe(2), { timeout: 30_000 });
  // both are good as long as the old one retires
  expect(await refused(old, tenantId)).toEqual([]);
  await world.database.asOwner("UPDATE token_keys SET retires_at = now() WHERE state = 'retiring'");
  await vi.waitFor(async () => expect(await refused(old, tenantId)).toEqual(Object.keys(QUESTIONS)), {
    timeout: 30_000,
  });
  await vi.waitFor(async () => expect(await refused(steal(await hostToken(tenantId)), tenantId)).toEqual([]));
}, 180_000);
