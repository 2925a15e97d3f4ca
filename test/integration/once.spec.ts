import { afterAll, beforeAll, expect, inject, it, vi } from 'vitest';
import { openConnection } from '@bulkhead/runtime/client';
import { createTokenMinter } from '@bulkhead/runtime/tokens';
import { placementOf } from '@bulkhead/contract';
import { makeDemoTenant } from '../support/demo-tenant.js';
import { openHostWorld } from '../support/host-world.js';
import type { HostWorld } from '../support/host-world.js';
import type { RunningMain } from '../support/processes.js';
import { resetToFirstTask } from '../support/reset.js';

/** The whole line on real servers, with no workflow cache: each workflow task replays all that came before. */
let world: HostWorld;
let host: RunningMain;

beforeAll(async () => {
  world = await openHostWorld({ delayMs: 0, maxCachedWorkflows: 0 });
  host = await world.startHost();
});
afterAll(async () => {
  await host.stop();
  await world.close();
});

const changes = async (): Promise<number> => (await world.services.effects()).effects.length;
const requests = async (): Promise<number> => (await world.services.effects()).requests;

it('a run of three segments without a workflow cache does each of its six effects once', async () => {
  const tenantId = await makeDemoTenant(world.door, world.keyRing, world.services, { like: 'acme' });
  const before = { changes: await changes(), requests: await requests() };
  const id = await world.accept(tenantId, 'long-chain', {
    ticketId: 'T-1001',
    segments: 3,
    callsPerSegment: 2,
  });
  await world.until(tenantId, id, 'completed');
  expect((await world.runOf(tenantId, id))?.result).toMatchObject({ segments: 3 });
  expect(await changes()).toBe(before.changes + 6);
  expect(await requests()).toBe(before.requests + 6);
  const rows = await world.database.asOwner<{ state: string; count: number }>(
    'SELECT state, count(*)::int AS count FROM effects WHERE run_id = $1 GROUP BY state',
    [id],
  );
  expect(rows).toEqual([{ state: 'closed', count: 6 }]);
});

it('a run that is reset to its first step meets its own entries: the same result, nothing is sent again', async () => {
  const tenantId = await makeDemoTenant(world.door, world.keyRing, world.services, { like: 'acme' });
  const id = await world.accept(tenantId, 'long-chain', {
    ticketId: 'T-1002',
    segments: 1,
    callsPerSegment: 3,
  });
  await world.until(tenantId, id, 'completed');
  const sent = await requests();
  const first = await world.runOf(tenantId, id);

  const { keys, temporal } = inject('servers');
  const { namespace } = placementOf(tenantId);
  const minter = createTokenMinter({ signingKeyPath: keys.temporalSigning, ttlSeconds: 60 });
  const token = (): string => minter.tenant(tenantId, 'write');
  const connection = openConnection({ address: temporal.address, token });
  const newRun = await resetToFirstTask(connection, tenantId, id);
  // the reset run is another execution of the same workflow; the old one was terminated by the reset
  await vi.waitFor(
    async () => {
      const { workflowExecutionInfo } = await connection.workflowService.describeWorkflowExecution({
        namespace,
        execution: { workflowId: id, runId: newRun },
      });
      expect(workflowExecutionInfo?.closeTime).toBeTruthy();
    },
    { timeout: 30_000, interval: 100 },
  );
  await world.until(tenantId, id, 'completed');
  await connection.close();
  expect(await requests()).toBe(sent);
  // the watcher may have found the first end again, then the reset, and only then the second end
  await vi.waitFor(async () => expect((await world.runOf(tenantId, id))?.result).toEqual(first?.result), {
    timeout: 30_000,
    interval: 100,
  });
});
