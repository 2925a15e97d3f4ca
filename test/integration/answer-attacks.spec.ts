import { Context } from '@temporalio/activity';
import type { Payload, PayloadCodec } from '@temporalio/common';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { BulkheadError, placementOf } from '@bulkhead/contract';
import type { CallRequest, EnvelopeRefusal } from '@bulkhead/contract';
import { closeFleetThreads, installRuntime } from '@bulkhead/runtime/worker';
import { impostorOf } from '../support/payloads.js';
import { payloadsOf } from '../support/raw-temporal.js';
import { replay, replayKeysOf } from '../support/replay.js';
import { scriptedLine } from '../support/scripted-line.js';
import type { ScriptedLine } from '../support/scripted-line.js';
import { openTenantWorld } from '../support/tenant-world.js';
import type { TenantWorld } from '../support/tenant-world.js';

/**
 * Somebody with the namespace's token answers for the host's activities, on the real server. The line under attack keeps
 * the ledger's promise: a call key that was answered is answered the same.
 */
const RUN = { ticketId: 'T-1', segments: 1, callsPerSegment: 3 };
const OK = { tool: 'helpdesk.ticket.update', outcome: 'ok' };
const CLEAN = { steps: [OK, OK, OK], segments: 1 };
const REFUSED = { at: 'answer', code: 'PAYLOAD_REFUSED', differs: ['payload'] };

let world: TenantWorld;
let line: ScriptedLine;
const refusals: EnvelopeRefusal[] = [];
/** What happens while the host works on the n-th question. */
let during: (asked: number, request: CallRequest) => Promise<void>;
/** With what the broker ends, if with a fault. */
let brokerFault: BulkheadError | undefined;

/** 0 replays the whole history at each step: a verdict that were another one the next time would break the run. */
async function open(maxCachedWorkflows: number): Promise<void> {
  line = scriptedLine();
  const { toolGateway } = line.activities;
  world = await openTenantWorld(
    {
      ...line.activities,
      secretBroker: async (...given) => {
        if (brokerFault) throw brokerFault;
        return line.activities.secretBroker(...given);
      },
      toolGateway: async (envelope, request) => {
        const asked = line.asked.length + 1;
        const answer = await toolGateway(envelope, request);
        await during(asked, request);
        return answer;
      },
    },
    { maxCachedWorkflows, onRefusal: (_tenant, refusal) => refusals.push(refusal) },
  );
}

const now = () => {
  const { activityId, workflowExecution } = Context.current().info;
  const { namespace } = placementOf(world.tenantId);
  return { namespace, activityId, workflowId: workflowExecution?.workflowId ?? '', identity: 'evil' };
};
const service = () => world.connection.workflowService;
const completeWith = async (codec: Pick<PayloadCodec, 'encode'>, ...answer: unknown[]): Promise<void> => {
  await service().respondActivityTaskCompletedById({ ...now(), result: await payloadsOf(codec, ...answer) });
};
const PLAIN: Pick<PayloadCodec, 'encode'> = { encode: async (payloads) => payloads };
const TRUST_ME = { kind: 'ok', value: { id: 'T-1', body: 'pay the attacker' }, key: 'k' };

/** Sealed with the tenant's key, for something else: what the activity itself was asked. */
async function copiedSeal(): Promise<Payload> {
  const { events } = await world.client().workflow.getHandle(now().workflowId).fetchHistory();
  const asked = (events ?? []).findLast((event) => event.activityTaskScheduledEventAttributes);
  const seal = asked?.activityTaskScheduledEventAttributes?.input?.payloads?.[0];
  if (!seal) throw new Error('nothing was asked');
  return seal as Payload;
}

/** What whoever reads the history can copy: the sealed answer of the call before. */
async function answerBefore(): Promise<void> {
  const { workflowId, ...rest } = now();
  const { events } = await world.client().workflow.getHandle(workflowId).fetchHistory();
  const before = (events ?? []).findLast((event) => event.activityTaskCompletedEventAttributes);
  const result = before?.activityTaskCompletedEventAttributes?.result;
  expect(result?.payloads).toHaveLength(1);
  await service().respondActivityTaskCompletedById({ ...rest, workflowId, result: result ?? null });
}

async function failWith(failure: object): Promise<void> {
  await service().respondActivityTaskFailedById({ ...now(), failure });
}

const ATTACKS: [string, () => Promise<void>][] = [
  ['a readable one', () => completeWith(PLAIN, TRUST_ME)],
  ['one sealed with another key', () => completeWith(impostorOf(world.tenantId), TRUST_ME)],
  ['none', async () => void (await service().respondActivityTaskCompletedById(now()))],
  ['the sealed one of another call', answerBefore],
  ['a sealed value that is no answer', () => completeWith(world.codec, { input: RUN, segment: 0 })],
  ['null', () => completeWith(world.codec, null)],
  [
    'a refusal that nobody decided',
    () => completeWith(world.codec, { kind: 'denied', reason: { message: '' } }),
  ],
  [
    'a readable failure for good',
    () => failWith({ message: 'no', applicationFailureInfo: { type: 'INTERNAL', nonRetryable: true } }),
  ],
  [
    'a failure for good with seals of something else',
    async () => {
      const encodedAttributes = await copiedSeal();
      const details = { payloads: [encodedAttributes] };
      const applicationFailureInfo = { type: 'INTERNAL', nonRetryable: true, details };
      await failWith({ message: 'no', encodedAttributes, applicationFailureInfo });
    },
  ],
  [
    'a stale credential of another call',
    () => completeWith(world.codec, { kind: 'grant_stale', reason: { message: '' }, key: 'k' }),
  ],
  [
    'a readable failure inside of another',
    () =>
      failWith({
        message: 'no',
        applicationFailureInfo: { type: 'INTERNAL', nonRetryable: true },
        cause: { message: 'no', applicationFailureInfo: { type: 'X' } },
      }),
  ],
];

describe.each([0, 20])('attack: an answer for an activity, with %i workflows kept', (kept) => {
  beforeAll(async () => {
    installRuntime(pino({ level: 'fatal' }), 'warn');
    await open(kept);
  });
  afterAll(async () => {
    await world.close();
    await closeFleetThreads();
  });
  beforeEach(() => refusals.splice(0));
  afterEach(() => {
    line.effects.splice(0);
    line.asked.splice(0);
  });

  it.each(ATTACKS)('%s: it neither steers the run nor holds it up', async (_what, attack) => {
    during = async (asked) => {
      if (asked === 2) await attack();
    };
    const handle = await world.start('longChain', RUN);
    expect(await handle.result()).toEqual(CLEAN);
    // asked once more by the same key, which has its answer: nothing happened twice
    expect(line.effects).toHaveLength(3);
    expect(line.asked).toHaveLength(4);
    expect(refusals).toEqual([{ ...REFUSED, workflowId: handle.workflowId }]);
    const history = await world.client().workflow.getHandle(handle.workflowId).fetchHistory();
    expect((history.events ?? []).filter((event) => event.workflowTaskFailedEventAttributes)).toEqual([]);
    const recorded = [{ workflowId: handle.workflowId, history }];
    expect(await replay(recorded, replayKeysOf(world.keys, world.tenantId))).toEqual([
      { workflowId: handle.workflowId, error: null },
    ]);
  });

  it('a fault for good that the host itself told ends the run with it, and is told as no refusal', async () => {
    const fault = new BulkheadError('ANSWER_REMOVED');
    during = async (asked) => {
      if (asked === 2) throw fault;
    };
    const told = { type: fault.code, message: fault.publicMessage };
    await expect((await world.start('longChain', RUN)).result()).rejects.toMatchObject({
      cause: { cause: told },
    });
    // of the broker, which is asked within the workflow's own task
    brokerFault = fault;
    const handle = await world.start('longChain', RUN);
    await expect(handle.result().finally(() => (brokerFault = undefined))).rejects.toMatchObject({
      cause: told,
    });
    expect(refusals).toEqual([]);
  });

  it('again and again: the run waits longer each time and goes on when it ends', async () => {
    during = async (asked) => {
      if (asked >= 2 && asked <= 4) await completeWith(PLAIN, TRUST_ME);
    };
    const handle = await world.start('longChain', RUN);
    expect(await handle.result()).toEqual(CLEAN);
    expect(line.effects).toHaveLength(3);
    expect(refusals).toHaveLength(3);
  });

  it('what a beat of it may leave behind: the next attempt does not look at it', async () => {
    during = async (asked) => {
      if (asked !== 2) return;
      await service().recordActivityTaskHeartbeatById({ ...now(), details: await payloadsOf(PLAIN, 'x') });
      throw new BulkheadError('EFFECT_HELD');
    };
    const handle = await world.start('longChain', RUN);
    expect(await handle.result()).toEqual(CLEAN);
    expect(refusals).toEqual([]);
  });
});
