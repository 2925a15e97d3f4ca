import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { TenantId } from '@bulkhead/contract';
import { openControlDoor } from '@bulkhead/prisma/control';
import type { ControlDb } from '@bulkhead/prisma/control';
import { orderTokenKeys, tokenKeysInUse } from '@bulkhead/tenancy/control';
import type { KeyOwner } from '@bulkhead/tenancy/control';
import { makeDemoTenant } from '../support/demo-tenant.js';
import { openHostWorld } from '../support/host-world.js';
import type { HostWorld } from '../support/host-world.js';
import type { RunningMain } from '../support/processes.js';

/** Both mains, the real server, tokens that live for 6 s: what a day does to tokens happens in seconds. */
const TTL_SECONDS = 6;
const CALLS = 40;
const PLATFORM = '_system';
let world: HostWorld;
let host: RunningMain;
let control: ControlDb;

beforeAll(async () => {
  world = await openHostWorld({ delayMs: 250, tokenTtlSeconds: TTL_SECONDS });
  host = await world.startHost();
  control = openControlDoor({ url: world.database.controlUrl, poolMax: 2, onError: () => undefined });
});
afterAll(async () => {
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
  await world.until(tenantId, id, 'completed', 60_000);
  clearInterval(watch);

  expect(tokens.size).toBeGreaterThanOrEqual(4);
  expect(await world.services.effects()).toMatchObject({ requests: CALLS });
  for (const process of [host, world.control])
    expect(await readFile(process.logFile, 'utf8')).not.toMatch(/permission|unauthorized|denied/i);
}, 180_000);
