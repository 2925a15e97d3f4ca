import { defaultPayloadConverter } from '@temporalio/common';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { placementOf, SIGNALS, tenantId as parseTenantId } from '@bulkhead/contract';
import type { RunId, TenantId } from '@bulkhead/contract';
import { listJournal } from '@bulkhead/journal/admin';
import { findRun, listRunRequests, requestRun } from '@bulkhead/runs/admin';
import type { RunAction, RunRequestView } from '@bulkhead/runs/admin';
import { openConnection, openTenantClient } from '@bulkhead/runtime/client';
import { createCarrierCodec, sealArgumentsWith } from '@bulkhead/runtime/codec';
import { createTokenMinter } from '@bulkhead/runtime/tokens';
import { makeDemoTenant } from '../support/demo-tenant.js';
import { openHostWorld } from '../support/host-world.js';
import type { HostWorld } from '../support/host-world.js';
import type { RunningMain } from '../support/processes.js';
import { resetToFirstTask } from '../support/reset.js';

/** Both mains as processes, the real servers, the demo's helpdesk that counts what it changed. */
const SLOW_MS = 400;
let world: HostWorld;
let host: RunningMain;
let acme: TenantId;
let globex: TenantId;
const cleanups: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  world = await openHostWorld({ delayMs: SLOW_MS });
  host = await world.startHost();
  acme = await makeDemoTenant(world.door, world.keyRing, world.services, { like: 'acme' });
  globex = await makeDemoTenant(world.door, world.keyRing, world.services, { like: 'globex' });
});
afterAll(async () => {
  for (const cleanup of cleanups) await cleanup();
  await host.stop();
  await world.close();
});

const ask = (
  tenant: TenantId,
  runId: string,
  action: RunAction,
  idempotencyKey?: string,
): Promise<{ created: boolean }> =>
  requestRun(
    world.door.tenant(tenant),
    { runId, action, reason: 'the ticket was closed', actor: 'key:oncall00', idempotencyKey },
    { sealArguments: sealArgumentsWith(world.keyRing) },
  );
const requestsOf = (tenant: TenantId, id: RunId): Promise<readonly RunRequestView[]> =>
  listRunRequests(world.door.tenant(tenant), id);
const changesOf = async (tenant: TenantId, id: RunId): Promise<unknown[]> =>
  (await listJournal(world.door.tenant(tenant), id))
    .map(({ body }) => body as { change?: string; state: string })
    .filter(({ change }) => change !== undefined)
    .map(({ change, state }) => `${change} ${state}`);
const effectsOf = (id: RunId): Promise<{ state: string; outcome: string | null }[]> =>
  world.database.asOwner('SELECT state, outcome FROM effects WHERE run_id = $1', [id]);
const long = (): Promise<RunId> => world.accept(acme, 'long-chain', { ticketId: 'T-1001', segments: 500 });
const underWay = async (id: RunId): Promise<void> => {
  await vi.waitFor(async () => expect((await effectsOf(id)).length).toBeGreaterThan(0), 15_000);
};
const waiting = async (): Promise<RunId> => {
  const id = await world.accept(globex, 'support-triage', { ticketId: 'T-1001' });
  await world.until(globex, id, 'approval_required');
  return id;
};

describe('a run that people control', () => {
  it('is cancelled: the agent hears it, the effect under way is settled, and the reason is shown', async () => {
    const id = await long();
    await underWay(id);
    expect(await ask(acme, id, { kind: 'cancel' })).toEqual({ created: true });
    await world.until(acme, id, 'cancelled');
    const run = await findRun(world.door.tenant(acme), id);
    expect(run?.reason?.message).toBe('The run was cancelled by key:oncall00: the ticket was closed');
    expect((await effectsOf(id)).every(({ state }) => state !== 'open')).toBe(true);
    expect(await requestsOf(acme, id)).toMatchObject([
      {
        kind: 'cancel',
        origin: 'mutation',
        actor: 'key:oncall00',
        doneAt: expect.any(Date) as Date,
        failure: undefined,
      },
    ]);
    expect(await changesOf(acme, id)).toEqual(['run_cancel requested', 'run_cancel done']);
  });

  it('is cancelled while it waits for a person', async () => {
    const id = await waiting();
    await ask(globex, id, { kind: 'cancel' });
    await world.until(globex, id, 'cancelled');
    expect(await effectsOf(id)).not.toContainEqual(expect.objectContaining({ state: 'open' }));
  });

  it('is cancelled before it was started: the order waits for the start', async () => {
    const id = await long();
    await ask(acme, id, { kind: 'cancel' });
    await world.until(acme, id, 'cancelled');
    expect(await requestsOf(acme, id)).toMatchObject([{ kind: 'cancel', failure: undefined }]);
  });

  it('is terminated: it does nothing more, and what was under way has an end', async () => {
    const id = await long();
    await underWay(id);
    await ask(acme, id, { kind: 'terminate' });
    await world.until(acme, id, 'cancelled');
    expect((await findRun(world.door.tenant(acme), id))?.reason?.message).toMatch(
      /^The run was terminated by key:/,
    );
    await vi.waitFor(
      async () => expect((await effectsOf(id)).every(({ state }) => state !== 'open')).toBe(true),
      15_000,
    );
    const { requests } = await world.services.effects();
    await new Promise((resolve) => setTimeout(resolve, 2 * SLOW_MS));
    expect((await world.services.effects()).requests).toBe(requests);
  });

  it.each(['first', 'last'] as const)(
    'is reset to its %s task: it runs again and ends again, and no effect is repeated',
    async (to) => {
      const id = await world.accept(acme, 'long-chain', { ticketId: 'T-1001', segments: 2 });
      await world.until(acme, id, 'completed');
      const effects = await world.services.effects();
      const first = await world.runOf(acme, id);
      await ask(acme, id, { kind: 'reset', point: { to } }, 'once');
      const again = await findRun(world.door.tenant(acme), id);
      expect(again).toMatchObject({ state: 'running', finishedAt: undefined });
      await world.until(acme, id, 'completed');
      expect(await ask(acme, id, { kind: 'reset', point: { to } }, 'once')).toEqual({ created: false });
      expect((await world.runOf(acme, id))?.result).toEqual(first?.result);
      expect(await world.services.effects()).toEqual(effects);
      expect(await requestsOf(acme, id)).toMatchObject([{ kind: 'reset', failure: undefined }]);
      expect(await changesOf(acme, id)).toEqual(['run_reset requested', 'run_reset done']);
    },
  );

  it('is told what its workflow declares for people, once: the argument is sealed, and nobody reads it on the way', async () => {
    const id = await long();
    await underWay(id);
    const enough = { kind: 'signal', name: 'enough', argument: { note: 'c4nary-note' } } as const;
    await ask(acme, id, enough, 'once');
    expect(await ask(acme, id, enough, 'once')).toEqual({ created: false });
    await world.until(acme, id, 'completed');
    expect(await requestsOf(acme, id)).toMatchObject([
      { kind: 'signal', signal: 'enough', failure: undefined },
    ]);
    expect(await changesOf(acme, id)).toEqual(['run_signal requested', 'run_signal done']);
    const rows = await world.database.asOwner(
      `SELECT detail::text AS text FROM run_requests WHERE run_id = $1 UNION ALL SELECT payload::text FROM outbox WHERE run_id = $1
       UNION ALL SELECT body::text FROM journal_records WHERE run_id = $1`,
      [id],
    );
    expect(rows.length).toBeGreaterThan(4);
    expect(JSON.stringify(rows)).not.toContain('c4nary');
  });

  it.each([
    ['a signal of the platform', 'resume', undefined, 'BAD_INPUT'],
    ['a signal of no workflow', 'constructor', undefined, 'BAD_INPUT'],
    ['half a character', 'enough', 'a\ud83d', 'BAD_INPUT'],
    ['what no column holds', 'enough', 'a\u0000', 'BAD_INPUT'],
    ['too much', 'enough', 'x'.repeat(16_384), 'PAYLOAD_TOO_LARGE'],
  ])('attack: is not told %s', async (_, name, argument, code) => {
    const id = await long();
    await expect(ask(acme, id, { kind: 'signal', name, argument }, 'k')).rejects.toMatchObject({ code });
    expect(await requestsOf(acme, id)).toEqual([]);
    await ask(acme, id, { kind: 'terminate' });
    await world.until(acme, id, 'cancelled');
  });

  it('that was cancelled is reset, runs again, and may be cancelled again', async () => {
    const id = await waiting();
    await ask(globex, id, { kind: 'cancel' });
    await world.until(globex, id, 'cancelled');
    await ask(globex, id, { kind: 'reset', point: { to: 'first' } });
    await world.until(globex, id, 'approval_required');
    expect(await ask(globex, id, { kind: 'cancel' })).toEqual({ created: true });
    await world.until(globex, id, 'cancelled');
    expect((await requestsOf(globex, id)).map(({ kind }) => kind)).toEqual(['cancel', 'reset', 'cancel']);
  });

  it('cannot be reset to an event that is no workflow task: the request says so, and the end stands', async () => {
    const id = await world.accept(acme, 'long-chain', { ticketId: 'T-1001', segments: 1 });
    await world.until(acme, id, 'completed');
    await ask(acme, id, { kind: 'reset', point: { to: 'event', eventId: 9_999 } });
    await vi.waitFor(
      async () =>
        expect(await requestsOf(acme, id)).toMatchObject([{ failure: expect.any(String) as string }]),
      10_000,
    );
    await world.until(acme, id, 'completed');
    expect(await changesOf(acme, id)).toEqual(['run_reset requested', 'run_reset failed']);
  });

  it('refuses what is too late or too early, and knows a request again by its key', async () => {
    const id = await world.accept(acme, 'long-chain', { ticketId: 'T-1001', segments: 1 });
    await world.until(acme, id, 'completed');
    for (const kind of ['cancel', 'terminate'] as const) {
      await expect(ask(acme, id, { kind })).rejects.toMatchObject({ code: 'INVALID_STATE' });
    }
    const late = await long();
    await ask(acme, late, { kind: 'cancel' }, 'k');
    expect(await ask(acme, late, { kind: 'cancel' }, 'k')).toEqual({ created: false });
    await world.until(acme, late, 'cancelled');
    expect(await ask(acme, late, { kind: 'cancel' }, 'k')).toEqual({ created: false });
    await ask(acme, late, { kind: 'reset', point: { to: 'last' } }, 'r');
    await expect(ask(acme, late, { kind: 'reset', point: { to: 'first' } }, 'r')).rejects.toMatchObject({
      code: 'IDEMPOTENCY_CONFLICT',
    });
    await ask(acme, late, { kind: 'terminate' });
    await world.until(acme, late, 'cancelled');
  });

  it('attack: another tenant’s run, a random one and a malformed id are one and the same answer', async () => {
    const id = await waiting();
    const random = `${acme}.run.01kb3v6r2e8m4q7x9z0a1b2c3d`;
    const answers = await Promise.all(
      [id, random, 'x', ''].flatMap((target) =>
        [{ kind: 'cancel' } as const, { kind: 'reset', point: { to: 'first' } } as const].map((action) =>
          ask(acme, target, action).catch((error: Error) => JSON.stringify({ ...error })),
        ),
      ),
    );
    expect(new Set(answers).size).toBe(1);
    expect(answers[0]).toContain('NOT_FOUND');
    expect(await requestsOf(globex, id)).toEqual([]);
    await ask(globex, id, { kind: 'terminate' });
    await world.until(globex, id, 'cancelled');
  });
});

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
  const eventsOf = async (id: RunId): Promise<string[]> => {
    const client = openTenantClient(admin(), globex, { codec: createCarrierCodec(globex) });
    const { events } = await client.workflow.getHandle(id).fetchHistory();
    return (events ?? []).flatMap(
      (event) => event.workflowExecutionSignaledEventAttributes?.signalName ?? [],
    );
  };

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
    expect(await eventsOf(id)).toEqual(['enough']);
    await ask(globex, id, { kind: 'terminate' });
    await world.until(globex, id, 'cancelled');
  });
});

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

  it('a reset of a run that ended, and of one under way, is noticed once', async () => {
    const ended = await world.accept(acme, 'long-chain', { ticketId: 'T-1001', segments: 1 });
    await world.until(acme, ended, 'completed');
    await host.stop(); // a run that is reset to be watched takes its time
    await resetToFirstTask(admin(), acme, ended);
    await world.until(acme, ended, 'running');
    host = await world.startHost();
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

it('attack: a run that was sent a signal which nobody can open stands still, and a reset without signals frees it', async () => {
  const id = await waiting();
  const { namespace } = placementOf(globex);
  await admin().workflowService.signalWorkflowExecution({
    namespace,
    workflowExecution: { workflowId: id },
    signalName: SIGNALS.approvalDecided,
    requestId: 'readable',
    input: { payloads: [defaultPayloadConverter.toPayload({ approvalId: 'x' })] },
  });
  const client = openTenantClient(admin(), globex, { codec: createCarrierCodec(globex) });
  await vi.waitFor(async () => {
    const { events } = await client.workflow.getHandle(id).fetchHistory();
    expect(events?.some((event) => event.workflowTaskFailedEventAttributes)).toBe(true);
  }, 15_000);
  await ask(globex, id, { kind: 'reset', point: { to: 'last' }, dropSignals: true });
  // it hears again
  await ask(globex, id, { kind: 'cancel' });
  await world.until(globex, id, 'cancelled');
});

it('an order of an unknown kind blocks nothing else', async () => {
  const id = await long();
  await world.database.asOwner(
    `INSERT INTO outbox (tenant_id, kind, run_id, payload) SELECT $1, 'defrost', $2, '{}' FROM generate_series(1, 20)`,
    [acme, id],
  );
  await underWay(id);
  await ask(acme, id, { kind: 'terminate' });
  await world.until(acme, id, 'cancelled');
  const rows = await world.database.asOwner<{ last_error: string }>(
    "SELECT DISTINCT last_error FROM outbox WHERE kind = 'defrost' AND attempts > 0",
  );
  expect(rows).toEqual([{ last_error: 'UnknownKind' }]);
});

it('attack: the tenant’s own database login cannot say that a request is done, or that it came from outside', async () => {
  const db = world.door.tenant(parseTenantId(acme));
  await expect(
    db.run((tx) => tx.$executeRaw`UPDATE run_requests SET done_at = now() WHERE tenant_id = ${acme}`),
  ).rejects.toThrow(/permission denied/);
  await expect(
    db.run(
      (tx) =>
        tx.$executeRaw`INSERT INTO run_requests (tenant_id, run_id, kind, origin, reason, actor) VALUES (${acme}, 'x', 'cancel', 'outside', '', '')`,
    ),
  ).rejects.toThrow(/permission denied/);
});

/** The control process's own power, for what an operator would do from outside. */
function admin() {
  const { temporal, keys } = inject('servers');
  const minter = createTokenMinter({ signingKeyPath: keys.temporalSigning, ttlSeconds: 600 });
  const connection = openConnection({ address: temporal.address, token: () => minter.system('admin') });
  cleanups.push(() => connection.close());
  return connection;
}
