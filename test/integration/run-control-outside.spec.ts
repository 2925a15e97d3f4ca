import { defaultPayloadConverter } from '@temporalio/common';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { ENVELOPE_HEADER, placementOf, SIGNALS } from '@bulkhead/contract';
import type { RunId, TenantId } from '@bulkhead/contract';
import { listJournal } from '@bulkhead/journal/admin';
import { findRun } from '@bulkhead/runs/admin';
import { openTenantClient } from '@bulkhead/runtime/client';
import { createCarrierCodec } from '@bulkhead/runtime/codec';
import { openControlledRuns } from '../support/controlled-runs.js';
import type { ControlledRuns } from '../support/controlled-runs.js';
import { resetToFirstTask } from '../support/reset.js';

const SLOW_MS = 100;
let runs: ControlledRuns;
let world: ControlledRuns['world'];
let acme: TenantId;
let globex: TenantId;
let ask: ControlledRuns['ask'];
let requestsOf: ControlledRuns['requestsOf'];
let changesOf: ControlledRuns['changesOf'];
let waiting: ControlledRuns['waiting'];
let admin: ControlledRuns['admin'];

beforeAll(async () => {
  runs = await openControlledRuns(SLOW_MS);
  ({ world, acme, globex } = runs);
  ({ ask, requestsOf, changesOf, waiting, admin } = runs);
});
afterAll(() => runs?.close());

/** Names of the signals in the history of the run's last execution. */
const signalsOf = async (id: RunId): Promise<string[]> => {
  const client = openTenantClient(admin(), globex, { codec: createCarrierCodec(globex) });
  const { events } = await client.workflow.getHandle(id).fetchHistory();
  return (events ?? []).flatMap((event) => event.workflowExecutionSignaledEventAttributes?.signalName ?? []);
};

describe('an order that is delivered twice, as after a crash of the control process between deed and note,', () => {
  const again = async (id: RunId, kind: string): Promise<void> => {
    await world.database.asOwner('UPDATE run_requests SET done_at = NULL WHERE run_id = $1 AND kind = $2', [
      id,
      kind,
    ]);
    await world.database.asOwner(
      'UPDATE outbox SET delivered_at = NULL, due_at = now() WHERE run_id = $1 AND kind = $2',
      [id, kind],
    );
  };
  const done = (tenant: TenantId, id: RunId): Promise<void> =>
    vi.waitFor(
      async () => expect(await requestsOf(tenant, id)).toMatchObject([{ doneAt: expect.any(Date) as Date }]),
      10_000,
    );
  it('resets a run once', async () => {
    const id = await waiting();
    const executions = async (): Promise<unknown[]> =>
      world.database.asOwner('SELECT temporal_run_id FROM run_requests WHERE run_id = $1', [id]);
    await ask(globex, id, { kind: 'reset', point: { to: 'first' } });
    await done(globex, id);
    const first = await executions();
    await again(id, 'reset');
    await done(globex, id);
    expect(await executions()).toEqual(first);
    await ask(globex, id, { kind: 'terminate' });
    await world.until(globex, id, 'cancelled');
  });

  it('signals it once', async () => {
    const id = await world.accept(globex, 'long-chain', { ticketId: 'T-1001', segments: 2 });
    await world.until(globex, id, 'approval_required');
    await ask(globex, id, { kind: 'signal', name: 'enough' }, 'k');
    await done(globex, id);
    await again(id, 'signal');
    await done(globex, id);
    expect(await signalsOf(id)).toEqual(['enough']);
    await ask(globex, id, { kind: 'terminate' });
    await world.until(globex, id, 'cancelled');
  });
});

it.each([
  [true, []],
  [false, ['enough']],
])(
  'a reset leaves out the signals after its point when it is told to (%s)',
  async (dropSignals, expected) => {
    const id = await world.accept(globex, 'long-chain', { ticketId: 'T-1001', segments: 2 });
    await world.until(globex, id, 'approval_required');
    await ask(globex, id, { kind: 'signal', name: 'enough' }, 'k');
    await ask(globex, id, { kind: 'reset', point: { to: 'first' }, dropSignals });
    await vi.waitFor(
      async () =>
        expect((await requestsOf(globex, id)).filter(({ doneAt }) => doneAt !== undefined)).toHaveLength(2),
      10_000,
    );
    expect(await signalsOf(id)).toEqual(expected);
  },
);

describe('what is done to a run from outside', () => {
  it.each(['terminate', 'cancel'] as const)('%s is noticed, shown and journalled', async (kind) => {
    const id = await waiting();
    const handle = openTenantClient(admin(), globex, {
      codec: createCarrierCodec(globex),
    }).workflow.getHandle(id);
    await (kind === 'cancel' ? handle.cancel() : handle.terminate('somebody’s secret reason'));
    await world.until(globex, id, 'cancelled');
    const run = await findRun(world.door.tenant(globex), id);
    expect(run?.reason).toMatchObject({ layer: 'outside' });
    expect(JSON.stringify(run)).not.toContain('secret');
    expect(await requestsOf(globex, id)).toMatchObject([{ kind, origin: 'outside', actor: 'temporal' }]);
    expect(await changesOf(globex, id)).toEqual([`run_${kind} outside`]);
  });

  it('a reset of a run that has ended again a moment later is noticed', async () => {
    const id = await world.accept(acme, 'long-chain', { ticketId: 'T-1001', segments: 1 });
    await world.until(acme, id, 'completed');
    // everything it does was done: nothing keeps it
    const execution = await resetToFirstTask(admin(), acme, id);
    await vi.waitFor(
      async () =>
        expect(
          await world.database.asOwner(
            'SELECT state, closed_execution AS execution FROM runs WHERE id = $1',
            [id],
          ),
        ).toEqual([{ state: 'completed', execution }]),
      15_000,
    );
    expect(await requestsOf(acme, id)).toMatchObject([{ kind: 'reset', origin: 'outside' }]);
    expect(await changesOf(acme, id)).toEqual(['run_reset outside']);
  });

  it('a reset of a run that ended, and of one under way, is noticed once', async () => {
    const ended = await world.accept(acme, 'long-chain', { ticketId: 'T-1001', segments: 1 });
    await world.until(acme, ended, 'completed');
    await runs.stopHost(); // a run that is reset to be watched takes its time
    await resetToFirstTask(admin(), acme, ended);
    await world.until(acme, ended, 'running');
    await runs.startHost();
    await world.until(acme, ended, 'completed');
    const open = await waiting();
    await resetToFirstTask(admin(), globex, open);
    for (const [tenant, id] of [
      [acme, ended],
      [globex, open],
    ] as const) {
      await vi.waitFor(
        async () =>
          expect(await requestsOf(tenant, id)).toMatchObject([{ kind: 'reset', origin: 'outside' }]),
        10_000,
      );
      expect(await changesOf(tenant, id)).toEqual(['run_reset outside']);
    }
    await ask(globex, open, { kind: 'terminate' });
    await world.until(globex, open, 'cancelled');
  });
});

it('attack: a signal from outside, without the run’s envelope, wakes nobody and is in the run’s journal', async () => {
  const id = await waiting();
  const client = openTenantClient(admin(), globex, { codec: createCarrierCodec(globex) });
  const handle = client.workflow.getHandle(id);
  for (const name of [SIGNALS.resume, SIGNALS.approvalDecided]) await handle.signal(name);
  const refusals = async (): Promise<unknown[]> =>
    (await listJournal(world.door.tenant(globex), id))
      .filter(({ kind }) => kind === 'refusal')
      .map(({ body }) => body);
  await vi.waitFor(
    async () =>
      expect(await refusals()).toMatchObject([
        {
          refused: 'envelope',
          at: 'signal',
          code: 'ENVELOPE_INVALID',
          differs: ['envelope'],
          workflowId: id,
        },
      ]),
    10_000,
  );
  expect((await findRun(world.door.tenant(globex), id))?.state).toBe('approval_required');
  await ask(globex, id, { kind: 'terminate' });
  await world.until(globex, id, 'cancelled');
});

it('attack: a signal from outside with the run’s envelope and a readable argument is dropped, told, and stops nothing', async () => {
  const id = await waiting();
  const { namespace } = placementOf(globex);
  const [row] = await world.database.asOwner<{ envelope: string }>(
    'SELECT envelope FROM runs WHERE id = $1',
    [id],
  );
  await admin().workflowService.signalWorkflowExecution({
    namespace,
    workflowExecution: { workflowId: id },
    signalName: SIGNALS.approvalDecided,
    requestId: 'readable',
    input: { payloads: [defaultPayloadConverter.toPayload({ approvalId: 'x' })] },
    header: { fields: { [ENVELOPE_HEADER]: defaultPayloadConverter.toPayload(row?.envelope) } },
  });
  await vi.waitFor(
    async () =>
      expect(
        (await listJournal(world.door.tenant(globex), id)).filter(({ kind }) => kind === 'refusal'),
      ).toMatchObject([
        { body: { refused: 'payload', at: 'signal', code: 'PAYLOAD_REFUSED', differs: ['payload'] } },
      ]),
    15_000,
  );
  const client = openTenantClient(admin(), globex, { codec: createCarrierCodec(globex) });
  const { events } = await client.workflow.getHandle(id).fetchHistory();
  expect(events?.some((event) => event.workflowTaskFailedEventAttributes)).toBe(false);
  // it hears
  await ask(globex, id, { kind: 'cancel' });
  await world.until(globex, id, 'cancelled');
});
