import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { TenantId } from '@bulkhead/contract';
import { findRun } from '@bulkhead/runs/admin';
import { openControlledRuns } from '../support/controlled-runs.js';
import type { ControlledRuns } from '../support/controlled-runs.js';

const SLOW_MS = 400;
let runs: ControlledRuns;
let world: ControlledRuns['world'];
let acme: TenantId;
let globex: TenantId;
let ask: ControlledRuns['ask'];
let requestsOf: ControlledRuns['requestsOf'];
let changesOf: ControlledRuns['changesOf'];
let effectsOf: ControlledRuns['effectsOf'];
let long: ControlledRuns['long'];
let underWay: ControlledRuns['underWay'];
let waiting: ControlledRuns['waiting'];

beforeAll(async () => {
  runs = await openControlledRuns(SLOW_MS);
  ({ world, acme, globex } = runs);
  ({ ask, requestsOf, changesOf, effectsOf, long, underWay, waiting } = runs);
});
afterAll(() => runs?.close());

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
  const db = world.door.tenant(acme);
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
