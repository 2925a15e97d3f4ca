import { randomUUID } from 'node:crypto';
import type { PayloadCodec } from '@temporalio/common';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { BulkheadError, FAILURES, placementOf } from '@bulkhead/contract';
import type { EnvelopeRefusal, RunId } from '@bulkhead/contract';
import { createTenantCodec } from '@bulkhead/runtime/codec';
import { closeFleetThreads, installRuntime } from '@bulkhead/runtime/worker';
import { createRunsInTemporal } from '../../apps/worker/src/control/temporal-runs.js';
import { createTestKeys, impostorOf } from '../support/payloads.js';
import { CommandType, complete, headerOf, payloadsOf, takeTask } from '../support/raw-temporal.js';
import { scriptedLine } from '../support/scripted-line.js';
import type { ScriptedLine } from '../support/scripted-line.js';
import { bundleWithUpdates } from '../support/test-bundle.js';
import { openTenantWorld } from '../support/tenant-world.js';
import type { TenantWorld } from '../support/tenant-world.js';

/** Somebody with the namespace's token, on the real server, against the tenant's real Worker. The envelope is genuine. */
const PLAIN: Pick<PayloadCodec, 'encode'> = { encode: async (payloads) => payloads };
const START = { input: { ticketId: 'T-1', segments: 1 }, segment: 0 };
let world: TenantWorld;
let line: ScriptedLine;
let bundle: Awaited<ReturnType<typeof bundleWithUpdates>>;
const refusals: EnvelopeRefusal[] = [];

beforeAll(async () => {
  installRuntime(pino({ level: 'fatal' }), 'warn');
  line = scriptedLine();
  bundle = await bundleWithUpdates();
  world = await openTenantWorld(line.activities, {
    bundlePath: bundle.path,
    onRefusal: (_tenant, refusal) => refusals.push(refusal),
  });
});
afterAll(async () => {
  await world?.close();
  await closeFleetThreads();
  await bundle?.remove();
});

async function startWith(codec: Pick<PayloadCodec, 'encode'>, over: object = {}): Promise<RunId> {
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
    ...over,
  });
  return runId;
}

/** Whoever sees a sealed payload can change what stands beside it. */
const namingNoKey = (): Pick<PayloadCodec, 'encode'> => ({
  encode: async (payloads) =>
    (await world.codec.encode(payloads)).map((payload) => ({
      ...payload,
      metadata: { ...payload.metadata, 'key-id': Buffer.from('a\0b') },
    })),
});

/** What is no payload of the tenant's. */
const FOREIGN: [string, () => Pick<PayloadCodec, 'encode'>][] = [
  ['readable', () => PLAIN],
  ['sealed with another key', () => impostorOf(world.tenantId)],
  ['sealed with a key whose name no column can hold', namingNoKey],
];
const PAYLOAD_REFUSED = { code: 'PAYLOAD_REFUSED', differs: ['payload'] };
const failedTasks = async (runId: RunId): Promise<number> => {
  const { events } = await world.client().workflow.getHandle(runId).fetchHistory();
  return (events ?? []).filter((event) => event.workflowTaskFailedEventAttributes).length;
};

describe('attack: with the envelope of a run, and arguments that are', () => {
  beforeEach(() => refusals.splice(0));

  it.each(FOREIGN)(
    '%s, it is started: no code of the workflow runs, it fails at once, and the next is served',
    async (_what, codec) => {
      const asked = line.asked.length;
      const runId = await startWith(codec());
      const end = await world
        .client()
        .workflow.getHandle(runId)
        .result()
        .catch((error: { cause?: unknown }) => error.cause);
      expect(end).toMatchObject({ type: 'PAYLOAD_REFUSED', nonRetryable: true });
      expect(refusals).toEqual([{ at: 'start', workflowId: runId, ...PAYLOAD_REFUSED }]);
      expect(await failedTasks(runId)).toBe(0);
      expect(line.asked).toHaveLength(asked);
      expect(await (await world.start('longChain', START.input)).result()).toMatchObject({ segments: 1 });
    },
  );

  it('its own, it is started with a memo that is readable: refused likewise', async () => {
    const { payloads } = await payloadsOf(PLAIN, 'x');
    const runId = await startWith(world.codec, { memo: { fields: { note: payloads[0] } } });
    const end = await world
      .client()
      .workflow.getHandle(runId)
      .result()
      .catch((error: { cause?: unknown }) => error.cause);
    expect(end).toMatchObject({ type: 'PAYLOAD_REFUSED', nonRetryable: true });
    expect(refusals).toEqual([{ at: 'start', workflowId: runId, ...PAYLOAD_REFUSED }]);
  });

  it.each(FOREIGN)(
    '%s, it is signalled: that is dropped and told, and the run goes on',
    async (_what, codec) => {
      const runId = world.newRunId();
      const handle = await world.start('updatable', null, { runId });
      const { namespace } = placementOf(world.tenantId);
      for (const signalName of ['resume', 'approvalDecided'])
        await world.connection.workflowService.signalWorkflowExecution({
          namespace,
          workflowExecution: { workflowId: runId },
          signalName,
          requestId: randomUUID(),
          input: await payloadsOf(codec(), { approvalId: 'x' }),
          header: headerOf(world.envelopeOf(runId)),
        });
      await vi.waitFor(() => expect(refusals).toHaveLength(2), 10_000);
      expect(refusals[0]).toEqual({ at: 'signal', workflowId: runId, ...PAYLOAD_REFUSED });
      expect(await update(runId, PLAIN, 'checked')).toBe('PAYLOAD_REFUSED');
      expect(await update(runId, codec(), 'unchecked')).toBe('PAYLOAD_REFUSED');
      expect(refusals.slice(2)).toMatchObject([
        { at: 'update', ...PAYLOAD_REFUSED },
        { at: 'update', ...PAYLOAD_REFUSED },
      ]);
      expect(await update(runId, world.codec, 'checked')).toBe('ok');
      expect(await handle.result()).toBe(1);
      expect(await failedTasks(runId)).toBe(0);
    },
  );
});

/** The code with which it was refused, or `ok`. */
async function update(runId: RunId, codec: Pick<PayloadCodec, 'encode'>, name: string): Promise<string> {
  const { outcome } = await world.connection.withDeadline(Date.now() + 20_000, async () =>
    world.connection.workflowService.updateWorkflowExecution({
      namespace: placementOf(world.tenantId).namespace,
      workflowExecution: { workflowId: runId },
      waitPolicy: { lifecycleStage: 3 },
      request: {
        meta: { updateId: randomUUID(), identity: 'evil' },
        input: { name, header: headerOf(world.envelopeOf(runId)), args: await payloadsOf(codec, 'x') },
      },
    }),
  );
  return outcome?.failure?.applicationFailureInfo?.type ?? (outcome?.success ? 'ok' : 'nothing');
}

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
  const other = await openTenantWorld(slow.activities, {
    keys: { ...keys, codecOf },
    maxCachedWorkflows: 0,
    bundlePath: bundle.path, // all Workers of a process share one
  });
  try {
    const handle = await other.start('longChain', { ticketId: 'T-1', segments: 1, callsPerSegment: 4 });
    expect(await handle.result()).toMatchObject({ segments: 1 });
    expect(slow.effects).toHaveLength(4);
  } finally {
    await other.close();
  }
});
