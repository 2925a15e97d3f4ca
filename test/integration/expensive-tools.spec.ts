import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { placementOf, toolId } from '@bulkhead/contract';
import type { Envelope, Json } from '@bulkhead/contract';
import { closeFleetThreads, installRuntime } from '@bulkhead/runtime/worker';
import { findTool, putTool } from '@bulkhead/tool-gateway/admin';
import { pino } from 'pino';
import { ALLOW_ALL, openLine } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';
import { scriptedLine } from '../support/scripted-line.js';
import { openTenantWorld } from '../support/tenant-world.js';

const READ = toolId('helpdesk.ticket.read');
/** More runs than the tenant's Worker has slots for calls. */
const RUNS = 40;

describe('the queue of expensive tools', () => {
  beforeAll(() => installRuntime(pino({ level: 'fatal' }), 'warn'));
  afterAll(() => closeFleetThreads());

  it('slow expensive calls, more than a host has slots, hold up no call of a cheap tool', async () => {
    const line = scriptedLine();
    const { secretBroker, toolGateway } = line.activities;
    const released = Promise.withResolvers<void>();
    let atOnce = 0;
    let most = 0;
    const tenant = await openTenantWorld({
      ...line.activities,
      secretBroker: async (envelope, request) => {
        const answer = await secretBroker(envelope, request);
        return answer.kind !== 'denied' && request.toolId === READ ? { ...answer, expensive: true } : answer;
      },
      toolGateway: async (envelope, request) => {
        if (request.toolId === READ) {
          most = Math.max(most, (atOnce += 1));
          await released.promise;
          atOnce -= 1;
        }
        return toolGateway(envelope, request);
      },
    });
    try {
      const slow = await Promise.all(
        Array.from({ length: RUNS }, (_, i) => tenant.start('supportTriage', { ticketId: `T-${i}` })),
      );
      await vi.waitFor(() => expect(atOnce).toBe(4), { timeout: 20_000 });
      const cheap = await tenant.start('longChain', { ticketId: 'T-1', segments: 1, callsPerSegment: 3 });
      expect(await cheap.result()).toMatchObject({ steps: { length: 3 } });
      expect([atOnce, most]).toEqual([4, 4]);
      released.resolve();
      await Promise.all(slow.map((handle) => handle.result()));
      expect(most).toBe(4);
      expect(await queuesOf(tenant.client(), slow[0]!.workflowId)).toEqual([
        placementOf(tenant.tenantId).expensiveQueue,
        ...Array(6).fill(placementOf(tenant.tenantId).taskQueue),
      ]);
    } finally {
      released.resolve();
      await tenant.close();
    }
  }, 60_000);
});

/** The queue of each scheduled activity of a run, in order. */
async function queuesOf(
  client: Awaited<ReturnType<typeof openTenantWorld>>['client'] extends () => infer C ? C : never,
  workflowId: string,
): Promise<string[]> {
  const { events } = await client.workflow.getHandle(workflowId).fetchHistory();
  return (events ?? []).flatMap(
    ({ activityTaskScheduledEventAttributes: scheduled }) => scheduled?.taskQueue?.name ?? [],
  );
}

describe('the gateway', () => {
  let line: LineUnderTest;
  let host: Host;
  let run: Envelope;

  beforeAll(async () => {
    line = await openLine();
    await line.publish('acme', [ALLOW_ALL]);
    host = await line.newHost();
    run = await line.newRun('acme');
  });
  afterAll(() => line.close());

  const declare = async (name: string, expensive: boolean): Promise<void> => {
    const { spec } = await findTool(line.db('acme'), name);
    await putTool(line.db('acme'), name, { ...(spec as { [name: string]: Json }), expensive });
  };
  const entries = () => line.database.asOwner('SELECT key FROM effects WHERE run_id = $1', [run.runId]);

  it('a call that comes over the other queue is sent back to the broker, and nothing is admitted', async () => {
    const stale = { kind: 'grant_stale', reason: { layer: 'tools' } };
    expect(await host.call(run, 'desk.read', { id: 'a' }, { onExpensiveQueue: true })).toMatchObject(stale);
    await declare('desk.read', true);
    expect(await host.call(run, 'desk.read', { id: 'a' }, { onExpensiveQueue: false })).toMatchObject(stale);
    expect(await entries()).toEqual([]);
  });

  it('a run is told by the broker which queue it is, with a credential and without, also after a change', async () => {
    await declare('desk.read', true);
    const ask = () => line.broker.secretBroker(run, { toolId: toolId('desk.read') });
    expect(await ask()).toMatchObject({ kind: 'grant', expensive: true });
    expect(await host.call(run, 'desk.read', { id: 'a' })).toMatchObject({ kind: 'ok' });
    await declare('desk.read', false);
    expect(await ask()).not.toHaveProperty('expensive');
    // at once, though this host knew the tool as expensive a moment ago
    expect(await host.call(run, 'desk.read', { id: 'b' })).toMatchObject({ kind: 'ok' });
    const { spec } = await findTool(line.db('acme'), 'desk.read');
    const { credential: _, ...open } = spec as { [name: string]: Json };
    await putTool(line.db('acme'), 'desk.open', { ...open, expensive: true });
    const none = await line.broker.secretBroker(run, { toolId: toolId('desk.open') });
    expect(none).toEqual({ kind: 'none', expensive: true });
  });
});
