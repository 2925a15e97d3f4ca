import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { tenantId } from '@bulkhead/contract';
import type { RunId, SealedPayload } from '@bulkhead/contract';
import { openControlDoor } from '@bulkhead/prisma/control';
import type { ControlDb } from '@bulkhead/prisma/control';
import { createCloseWatcher, createResetSweep } from '@bulkhead/runs/control';
import type { RunExecution } from '@bulkhead/runs/control';
import { freshDatabase } from '../support/database.js';
import type { TestDatabase } from '../support/database.js';

/** The real database; Temporal is scripted, because only what it answers matters here. */
const ACME = tenantId('acme');
let database: TestDatabase;
let control: ControlDb;

beforeAll(async () => {
  database = await freshDatabase();
  control = openControlDoor({ url: database.controlUrl, poolMax: 2, onError: () => undefined });
});
afterAll(async () => {
  await control.close();
  await database.drop();
});

const log = { info: () => undefined, warn: () => undefined };
const newRuns = (tenant: string, count: number, startedAt: string): Promise<{ id: RunId }[]> =>
  database.asOwner<{ id: RunId }>(
    `INSERT INTO runs (tenant_id, id, workspace_id, agent_id, workflow_type, idempotency_key, input_digest, input, envelope, actor, state, started_at)
     SELECT $1, $1 || '.run.' || lpad(n::text, 26, '0'), 'main', 'a', 'w', $1 || n || $3, '', '{}', 'e', 'key:x', 'running', $3::timestamptz
       FROM generate_series(1, $2::int) n RETURNING id`,
    [tenant, count, startedAt],
  );

describe('the end of a run is seen', () => {
  it('and its sealed result is stored as it came', async () => {
    const [run] = await newRuns('acme', 1, '2026-01-01');
    const result: SealedPayload = { sealed: 1, tenant: ACME, keyId: 'k', data: 'AAAA' };
    const watcher = createCloseWatcher({
      control,
      log,
      temporal: {
        end: async () => ({ execution: 'first', state: 'completed', result }),
      },
    });
    watcher.watch({ tenantId: ACME, runId: run!.id, envelope: 'e' as never });
    await vi.waitFor(
      async () =>
        expect(await database.asOwner('SELECT state, result FROM runs WHERE id = $1', [run!.id])).toEqual([
          { state: 'completed', result },
        ]),
      3_000,
    );
    await watcher.stop();
    await database.asOwner('DELETE FROM runs');
  });

  it('but not the old end of a run that waits for its reset: it is neither watched nor written', async () => {
    const [run] = await newRuns('acme', 1, '2026-01-01');
    const reset =
      "INSERT INTO run_requests (tenant_id, run_id, kind, reason, actor) VALUES ('acme', $1, 'reset', 'r', 'a')";
    await database.asOwner(reset, [run!.id]);
    const watcher = createCloseWatcher({
      control,
      log,
      temporal: {
        end: async () => ({ execution: 'first', state: 'failed', message: 'the old end' }),
      },
    });
    const stateOf = (): Promise<unknown[]> =>
      database.asOwner('SELECT state FROM runs WHERE id = $1', [run!.id]);
    expect(await watcher.adoptOnce()).toBe(0);
    // one that was watched before the reset was asked for
    watcher.watch({ tenantId: ACME, runId: run!.id, envelope: 'e' as never });
    await watcher.stop();
    expect(await stateOf()).toEqual([{ state: 'running' }]);
    await database.asOwner("UPDATE run_requests SET done_at = now(), failure = 'no'");
    const again = createCloseWatcher({
      control,
      log,
      temporal: {
        end: async () => ({ execution: 'first', state: 'failed', message: 'the old end' }),
      },
    });
    expect(await again.adoptOnce()).toBe(1);
    await vi.waitFor(async () => expect(await stateOf()).toEqual([{ state: 'failed' }]), 3_000);
    await again.stop();
    await database.asOwner('DELETE FROM runs');
  });

  it('attack: although another tenant has thousands of older runs that never end', async () => {
    await newRuns('acme', 2_500, '2026-01-01');
    const [run] = await newRuns('globex', 1, '2026-02-01');
    const watched = new Set<RunId>();
    const watcher = createCloseWatcher({
      control,
      log,
      temporal: {
        end: (run, stop) => {
          watched.add(run.runId);
          return new Promise((_, reject) =>
            stop.addEventListener('abort', () => reject(new Error('stopped'))),
          );
        },
      },
    });
    await watcher.adoptOnce();
    expect(watched.has(run!.id)).toBe(true);
    await watcher.stop();
  });
});

describe('a reset from outside of a run that had ended', () => {
  const row = (id: RunId): Promise<unknown[]> =>
    database.asOwner('SELECT state, closed_execution AS execution FROM runs WHERE id = $1', [id]);
  const resets = (id: RunId): Promise<unknown[]> =>
    database.asOwner(
      'SELECT kind, origin, temporal_run_id AS execution FROM run_requests WHERE run_id = $1',
      [id],
    );
  /** What Temporal would say of the run: its executions, the last one last. */
  const sweepOf = (id: RunId, executions: readonly Omit<RunExecution, 'runId'>[], asked: Date[] = []) => {
    const all = executions.map((execution) => ({ runId: id, ...execution }));
    return createResetSweep({
      control,
      log,
      now: () => new Date('2026-03-01T12:00:00Z'),
      temporal: {
        executions: async (_tenant, since) => {
          asked.push(since);
          return all;
        },
        latest: async () => all.at(-1)!,
      },
    });
  };
  const watch = (id: RunId, execution: string) => {
    const watcher = createCloseWatcher({
      control,
      log,
      temporal: {
        end: async (_run, _stop, onReset) => {
          if (execution !== 'first') await onReset(execution);
          return { execution, state: 'completed', result: null };
        },
      },
    });
    watcher.watch({ tenantId: ACME, runId: id, envelope: 'e' as never });
    return vi
      .waitFor(async () => expect(await row(id)).toEqual([{ state: 'completed', execution }]), 3_000)
      .finally(() => watcher.stop());
  };
  const ended = async (): Promise<RunId> => {
    await database.asOwner('DELETE FROM runs');
    await database.asOwner('DELETE FROM run_requests');
    await database.asOwner(
      `INSERT INTO tenants (id, name, namespace, task_queue, status) VALUES ('acme', 'acme', 'tnt-acme', 'q', 'active') ON CONFLICT DO NOTHING`,
    );
    const [run] = await newRuns('acme', 1, '2026-01-01');
    await watch(run!.id, 'first');
    return run!.id;
  };
  const closed = (execution: string) => ({ execution, open: false });

  it('is noticed although it had ended again before anybody looked, and once', async () => {
    const id = await ended();
    const sweep = sweepOf(id, [closed('first'), closed('second')]);
    expect(await sweep.sweepOnce()).toBe(1);
    expect(await row(id)).toMatchObject([{ state: 'running' }]);
    await watch(id, 'second');
    expect(await resets(id)).toEqual([{ kind: 'reset', origin: 'outside', execution: 'second' }]);
    expect(await sweep.sweepOnce()).toBe(0);
    expect(await row(id)).toEqual([{ state: 'completed', execution: 'second' }]);
  });

  it('is noticed while it is open', async () => {
    const id = await ended();
    const sweep = sweepOf(id, [closed('first'), { execution: 'second', open: true }]);
    expect(await sweep.sweepOnce()).toBe(1);
  });

  it('is not seen in what an earlier reset ended, nor in a run of which only the end is known', async () => {
    const id = await ended();
    expect(await sweepOf(id, [closed('replaced'), closed('first')]).sweepOnce()).toBe(0);
    await database.asOwner('UPDATE runs SET closed_execution = NULL');
    expect(await sweepOf(id, [closed('second')]).sweepOnce()).toBe(0);
  });

  it.each([
    ['is gone from Temporal', async () => undefined, '2026-03-01T11:59:00.000Z'],
    // what failed only this time must not be passed over: the next look goes back as far
    ['cannot be looked at', () => Promise.reject(new Error('no')), '2026-02-28T11:59:00.000Z'],
  ])('is noticed although another run of the tenant %s', async (_, lost, next) => {
    await ended();
    await database.asOwner('DELETE FROM runs');
    const runs = await newRuns('acme', 2, '2026-01-01');
    await database.asOwner(
      "UPDATE runs SET state = 'completed', finished_at = now(), closed_execution = 'first'",
    );
    const [gone, here] = runs.map(({ id }) => id).toSorted();
    const asked: Date[] = [];
    const sweep = createResetSweep({
      control,
      log,
      now: () => new Date('2026-03-01T12:00:00Z'),
      temporal: {
        executions: async (_tenant, since) => {
          asked.push(since);
          return runs.map(({ id }) => ({ runId: id, ...closed('second') }));
        },
        latest: async ({ runId }) => (runId === gone ? lost() : { runId, ...closed('second') }),
      },
    });
    expect(await sweep.sweepOnce()).toBe(1);
    expect(await row(here!)).toMatchObject([{ state: 'running' }]);
    expect(await row(gone!)).toMatchObject([{ state: 'completed' }]);
    await sweep.sweepOnce();
    expect(asked[1]?.toISOString()).toBe(next);
  });

  it('is looked for a day back at first, then since the look before', async () => {
    const asked: Date[] = [];
    const sweep = sweepOf(await ended(), [], asked);
    await sweep.sweepOnce();
    await sweep.sweepOnce();
    expect(asked.map((since) => since.toISOString())).toEqual([
      '2026-02-28T11:59:00.000Z',
      '2026-03-01T11:59:00.000Z',
    ]);
  });
});
