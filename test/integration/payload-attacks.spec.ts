import { randomUUID } from 'node:crypto';
import { defaultPayloadConverter } from '@temporalio/common';
import type { PayloadCodec } from '@temporalio/common';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { BulkheadError, FAILURES, placementOf, tenantId } from '@bulkhead/contract';
import type { RunId } from '@bulkhead/contract';
import { createTenantCodec } from '@bulkhead/runtime/codec';
import { closeFleetThreads, installRuntime } from '@bulkhead/runtime/worker';
import { createRunsInTemporal } from '../../apps/worker/src/control/temporal-runs.js';
import { encodingOf, failuresIn, payloadsIn } from '../support/history-payloads.js';
import { createTestKeys } from '../support/payloads.js';
import { CommandType, complete, headerOf, payloadsOf, takeTask } from '../support/raw-temporal.js';
import { scriptedLine } from '../support/scripted-line.js';
import type { ScriptedLine } from '../support/scripted-line.js';
import { openTenantWorld } from '../support/tenant-world.js';
import type { TenantWorld } from '../support/tenant-world.js';

/** Somebody with the namespace's token, on the real server, against the tenant's real Worker. The envelope is genuine. */
const PLAIN: Pick<PayloadCodec, 'encode'> = { encode: async (payloads) => payloads };
const START = { input: { ticketId: 'T-1', segments: 1 }, segment: 0 };
let world: TenantWorld;
let line: ScriptedLine;

beforeAll(async () => {
  installRuntime(pino({ level: 'fatal' }), 'warn');
  line = scriptedLine();
  world = await openTenantWorld(line.activities);
});
afterAll(async () => {
  await world.close();
  await closeFleetThreads();
});

async function startWith(codec: Pick<PayloadCodec, 'encode'>): Promise<RunId> {
  const runId = world.newRunId();
  const { namespace, taskQueue } = placementOf(world.tenantId);
  await world.connection.workflowService.startWorkflowExecution({
    namespace,
    workflowId: runId,
    workflowType: { name: 'longChain' },
    taskQueue: { name: taskQueue },
    requestId: randomUUID(),
    input: await payloadsOf(codec, START),
    header: headerOf(world.envelopeOf(runId)),
  });
  return runId;
}

/** A codec with the attacker's own key, which says that it is the tenant's. */
function impostor(): Pick<PayloadCodec, 'encode'> {
  const own = createTestKeys().codecOf(tenantId('mallory'));
  return {
    encode: async (payloads) =>
      (await own.encode(payloads)).map((payload) => ({
        ...payload,
        metadata: { ...payload.metadata, tenant: Buffer.from(world.tenantId) },
      })),
  };
}

describe('attack: a run is started with', () => {
  it.each([
    ['a readable input', () => PLAIN],
    ['an input that another key sealed', impostor],
  ])('%s: no code of the workflow sees it, and the next run is served', async (_what, codec) => {
    const asked = line.asked.length;
    const runId = await startWith(codec());
    const handle = world.client().workflow.getHandle(runId);
    const failed = await vi.waitFor(
      async () => {
        const { events } = await handle.fetchHistory();
        const event = events?.find((one) => one.workflowTaskFailedEventAttributes);
        if (!event) throw new Error('no failed task yet');
        return event;
      },
      { timeout: 15_000, interval: 100 },
    );
    expect(failuresIn(failed)[0]?.failure.message).toBe('Encoded failure');
    const reason = payloadsIn(failed).find(({ payload }) => encodingOf(payload) === 'binary/encrypted');
    const [opened] = await world.codec.decode(reason ? [reason.payload] : []);
    expect(JSON.stringify(defaultPayloadConverter.fromPayload(opened!))).toMatch(/is not sealed|has no key/);
    await handle.terminate();
    expect(line.asked).toHaveLength(asked);
    expect(await (await world.start('longChain', START.input)).result()).toMatchObject({ segments: 1 });
  });
});

it('attack: a run is closed with a readable result: it is shown as failed, and the text goes no further', async () => {
  const runId = world.newRunId();
  const { namespace } = placementOf(world.tenantId);
  const token = await takeTask(world.connection, namespace, runId);
  await complete(world.connection, namespace, token, [
    {
      commandType: CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
      completeWorkflowExecutionCommandAttributes: { result: await payloadsOf(PLAIN, { answer: 'trust me' }) },
    },
  ]);
  const run = { tenantId: world.tenantId, runId, envelope: world.envelopeOf(runId) };
  const end = await createRunsInTemporal(world.connection).end(
    run,
    new AbortController().signal,
    async () => undefined,
  );
  expect(end).toEqual({
    execution: expect.any(String) as string,
    state: 'failed',
    message: FAILURES.PAYLOAD_REFUSED.publicMessage,
  });
});

it('a database that is away while a run is under way breaks neither the Worker nor the run', async () => {
  let away = false;
  const keys = createTestKeys();
  const codecOf = (id: Parameters<typeof keys.codecOf>[0]) =>
    createTenantCodec(id, {
      ...keys.keyRing,
      // what a key ring does when what it knows is too old to open with, see key-ring.spec.ts
      openParts: (...given) =>
        away ? Promise.reject(new BulkheadError('DATABASE_UNAVAILABLE')) : keys.keyRing.openParts(...given),
    });
  const slow = scriptedLine((_request, asked) => {
    away = asked === 2;
    if (away) setTimeout(() => (away = false), 3_000);
    return undefined;
  });
  const other = await openTenantWorld(slow.activities, { keys: { ...keys, codecOf }, maxCachedWorkflows: 0 });
  try {
    const handle = await other.start('longChain', { ticketId: 'T-1', segments: 1, callsPerSegment: 4 });
    expect(await handle.result()).toMatchObject({ segments: 1 });
    expect(slow.effects).toHaveLength(4);
  } finally {
    await other.close();
  }
});
