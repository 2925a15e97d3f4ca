import { chmod, copyFile, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, it, vi } from 'vitest';
import type { RunId, TenantId } from '@bulkhead/contract';
import { tenantKeys } from '@bulkhead/prisma/tenant';
import { findRun } from '@bulkhead/runs/admin';
import { sealArgumentsWith } from '@bulkhead/runtime/codec';
import { createKeyRing } from '@bulkhead/runtime/keys';
import { getTenant } from '@bulkhead/tenancy/admin';
import { makeDemoTenant } from '../support/demo-tenant.js';
import { openHostWorld } from '../support/host-world.js';
import type { HostWorld } from '../support/host-world.js';
import type { RunningMain } from '../support/processes.js';

/** Real processes: what the host needs to use a tenant's key is taken away under a run, and put back. */
const CALLS = 12;
/** A process uses a key for 10 s after it read it. */
const NOTICED = { timeout: 20_000, interval: 100 };
let world: HostWorld;
let host: RunningMain;
let masterKey: string;

beforeAll(async () => {
  world = await openHostWorld({ delayMs: 1_000 });
  masterKey = join(world.dataDir, 'own-master.key');
  await copyFile(inject('servers').keys.master, masterKey);
  await chmod(masterKey, 0o600);
  host = await world.startHost(masterKey);
});
afterAll(async () => {
  await host.stop();
  await world.close();
});

const newTenant = (): Promise<TenantId> =>
  makeDemoTenant(world.door, world.keyRing, world.services, { like: 'acme' });
const stateOf = async (tenantId: TenantId, id: RunId) => ({
  since: (await getTenant(world.door.tenant(tenantId))).keyUnavailableSince,
  layer: (await findRun(world.door.tenant(tenantId), id))?.reason?.layer,
});
const closedOf = async (id: RunId): Promise<number> => {
  const count = "SELECT count(*)::int AS n FROM effects WHERE run_id = $1 AND state = 'closed'";
  return (await world.database.asOwner<{ n: number }>(count, [id]))[0]?.n ?? 0;
};
const recordsOf = async (tenantId: TenantId): Promise<unknown[]> =>
  (
    await world.database.asOwner<{ change: string }>(
      "SELECT body->>'change' AS change FROM journal_records WHERE tenant_id = $1 AND body->>'change' LIKE 'tenant_key_%' ORDER BY id",
      [tenantId],
    )
  ).map(({ change }) => change);

async function underWay(tenantId: TenantId): Promise<RunId> {
  const input = { ticketId: 'T-1001', segments: 1, callsPerSegment: CALLS };
  const id = await world.accept(tenantId, 'long-chain', input);
  await vi.waitFor(async () => expect(await closedOf(id)).toBeGreaterThan(0), NOTICED);
  return id;
}

const isSeen = (tenantId: TenantId, id: RunId): Promise<void> =>
  vi.waitFor(
    async () =>
      expect(await stateOf(tenantId, id)).toEqual({ since: expect.any(Date) as Date, layer: 'keys' }),
    NOTICED,
  );

/** Every call once, and nothing left that says otherwise. */
async function endsAsIfNothing(tenantId: TenantId, id: RunId): Promise<void> {
  await world.until(tenantId, id, 'completed', 90_000);
  const steps = Array.from({ length: CALLS }, () => expect.objectContaining({ outcome: 'ok' }) as object);
  expect((await world.runOf(tenantId, id))?.result).toMatchObject({ steps });
  expect(await closedOf(id)).toBe(CALLS);
  expect(await stateOf(tenantId, id)).toEqual({ since: null, layer: undefined });
  expect(await recordsOf(tenantId)).toEqual(['tenant_key_unavailable', 'tenant_key_available']);
}

const startsOf = async (tenantId: TenantId): Promise<number> =>
  (await readFile(host.logFile, 'utf8'))
    .split('\n')
    .filter((line) => line.includes(tenantId) && line.includes('worker failed, starting it again')).length;

it('without its row the tenant’s runs stand still, visibly and quietly; others go on; with it they end', async () => {
  const [tenantId, other] = [await newTenant(), await newTenant()];
  const id = await underWay(tenantId);
  const rows = await world.database.asOwner<{ key_id: string; wrapped: Buffer }>(
    'DELETE FROM tenant_keys WHERE tenant_id = $1 RETURNING key_id, wrapped',
    [tenantId],
  );
  await isSeen(tenantId, id);
  const ring = createKeyRing({ masterKeyPath: masterKey, loadTenantKey: tenantKeys(world.door) });
  await expect(sealArgumentsWith(ring)(tenantId, ['x'])).rejects.toMatchObject({ code: 'KEY_UNAVAILABLE' });
  const [closed, starts] = [await closedOf(id), await startsOf(tenantId)];
  const others = await world.accept(other, 'support-triage', { ticketId: 'T-1001' });
  await world.until(other, others, 'completed', 30_000);
  expect(await stateOf(other, others)).toEqual({ since: null, layer: undefined });
  expect(await closedOf(id)).toBe(closed);
  // half a second, one, two, four...: five or so in the time that the other run took
  expect((await startsOf(tenantId)) - starts).toBeLessThan(8);

  for (const { key_id: keyId, wrapped } of rows)
    await world.database.asOwner('INSERT INTO tenant_keys (tenant_id, key_id, wrapped) VALUES ($1, $2, $3)', [
      tenantId,
      keyId,
      wrapped,
    ]);
  await endsAsIfNothing(tenantId, id);
}, 180_000);

it('without the master key the host takes nothing of anybody, and goes on by itself when it is back', async () => {
  const tenants = [await newTenant(), await newTenant()];
  const runs = await Promise.all(
    tenants.map(async (tenantId) => ({ tenantId, id: await underWay(tenantId) })),
  );
  await rename(masterKey, `${masterKey}.away`);
  for (const { tenantId, id } of runs) await isSeen(tenantId, id);
  for (const { id } of runs) expect(await closedOf(id)).toBeLessThan(CALLS);
  await rename(`${masterKey}.away`, masterKey);
  for (const { tenantId, id } of runs) await endsAsIfNothing(tenantId, id);
}, 180_000);
