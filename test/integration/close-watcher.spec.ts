import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { tenantId } from '@bulkhead/contract';
import type { RunId, SealedPayload } from '@bulkhead/contract';
import { openControlDoor } from '@bulkhead/prisma/control';
import type { ControlDb } from '@bulkhead/prisma/control';
import { createCloseWatcher } from '@bulkhead/runs/control';
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
        end: async () => ({ state: 'completed', result }),
        open: async () => [],
        isOpen: async () => false,
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
        end: async () => ({ state: 'failed', message: 'the old end' }),
        open: async () => [],
        isOpen: async () => false,
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
        end: async () => ({ state: 'failed', message: 'the old end' }),
        open: async () => [],
        isOpen: async () => false,
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
        open: async () => [],
        isOpen: async () => true,
      },
    });
    await watcher.adoptOnce();
    expect(watched.has(run!.id)).toBe(true);
    await watcher.stop();
  });
});
