import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { buildStopId, placementOf } from '@bulkhead/contract';
import type { RunId, TenantId } from '@bulkhead/contract';
import { usage } from '@bulkhead/quota/admin';
import { resumeCalls, stopCalls } from '@bulkhead/tenancy/admin';
import { openControlledRuns } from '../support/controlled-runs.js';
import type { ControlledRuns } from '../support/controlled-runs.js';
import { randomUlid } from '../support/cross-tenant.js';

/** A run that waits costs its tenant nothing: no slot of a host, which only activities under way hold, and no quota. */
let runs: ControlledRuns;
beforeAll(async () => {
  runs = await openControlledRuns(20);
});
afterAll(() => runs.close());

const underWay = async (tenant: TenantId, id: RunId): Promise<number> => {
  const { namespace } = placementOf(tenant);
  const execution = { workflowId: id };
  const run = await runs.admin().workflowService.describeWorkflowExecution({ namespace, execution });
  return run.pendingActivities?.length ?? 0;
};
const used = async (tenant: TenantId): Promise<number> =>
  (await usage(runs.world.door.tenant(tenant), new Date()))[0]?.used ?? 0;
const charged = async (tenant: TenantId): Promise<number> => {
  const rows = await runs.world.database.asOwner<{ n: number }>(
    "SELECT coalesce(sum(charged), 0)::int AS n FROM effects WHERE tenant_id = $1 AND state <> 'released'",
    [tenant],
  );
  return rows[0]?.n ?? 0;
};

it('a run that waits for a person holds no slot and no quota', async () => {
  const waiting = await Promise.all(Array.from({ length: 12 }, () => runs.waiting()));
  for (const id of waiting) {
    await vi.waitFor(async () => expect(await underWay(runs.globex, id)).toBe(0), 5_000);
  }
  // what they did before they came to the call that waits, and nothing for that one
  expect(await used(runs.globex)).toBe(await charged(runs.globex));
  const reserved = await runs.world.database.asOwner(
    "SELECT key FROM effects WHERE tenant_id = $1 AND tool_id = 'helpdesk.ticket.update'",
    [runs.globex],
  );
  expect(reserved).toEqual([]);
});

it('a run that a pause holds back holds none either, and goes on where it was', async () => {
  const id = await runs.long();
  await runs.underWay(id);
  const db = runs.world.door.tenant(runs.acme);
  const stop = buildStopId(runs.acme, randomUlid());
  const why = { reason: 'a drill', actor: 'key:oncall00' };
  await stopCalls(db, { id: stop, scope: 'tenant', target: '', state: 'paused', end: false, ...why });
  await runs.world.until(runs.acme, id, 'paused');
  await vi.waitFor(async () => expect(await underWay(runs.acme, id)).toBe(0), 5_000);
  const before = await used(runs.acme);
  expect(before).toBe(await charged(runs.acme));
  await resumeCalls(db, { id: stop, ...why });
  await vi.waitFor(async () => expect(await used(runs.acme)).toBeGreaterThan(before), 15_000);
});
