import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { CHANNELS, tenantId } from '@bulkhead/contract';
import type { Envelope, Json, RunId } from '@bulkhead/contract';
import { createSealer } from '@bulkhead/journal/control';
import { decideApproval, listApprovals } from '@bulkhead/policy/admin';
import { endApprovals } from '@bulkhead/policy/control';
import { createCloseWatcher } from '@bulkhead/runs/control';
import { sealArgumentsWith } from '@bulkhead/runtime/codec';
import { openLine } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';

/** What becomes of approvals that nobody decides. */
const ACME = tenantId('acme');
const ASK: Json = {
  id: 'ask',
  effect: 'allow',
  tools: ['desk.update'],
  approval: { approvers: ['admin'], expiresInSeconds: 600 },
};
let line: LineUnderTest;
let host: Host;
let run: Envelope;

beforeAll(async () => {
  line = await openLine();
  await line.publish('acme', [ASK]);
});
afterAll(() => line.close());
beforeEach(async () => {
  line.tool.requests.length = 0;
  host = await line.newHost();
  run = await line.newRun('acme');
});

const ask = async (id: string, of = run): Promise<string> => {
  const answer = await host.call(of, 'desk.update', { id });
  return answer.kind === 'approval_required' ? answer.approvalId : answer.kind;
};
const decide = (approvalId: string, decision: 'approved' | 'rejected') =>
  decideApproval(
    line.db('acme'),
    { keyRing: line.keyRing, sealArguments: sealArgumentsWith(line.keyRing) },
    { approvalId, decision, decidedBy: 'key:boss', role: 'admin', reason: undefined },
    {},
  );
const expire = (id: string) =>
  line.database.asOwner("UPDATE approvals SET expires_at = now() - interval '1 second' WHERE id = $1", [id]);
const stateOf = async (id: string): Promise<string | undefined> =>
  (await line.database.asOwner<{ state: string }>('SELECT state FROM approvals WHERE id = $1', [id]))[0]
    ?.state;
const recordsOf = async (id: string): Promise<unknown[]> =>
  (
    await line.database.asOwner<{ body: { state: string } }>(
      "SELECT body FROM journal_records WHERE kind = 'approval' AND body->>'approvalId' = $1 ORDER BY id",
      [id],
    )
  ).map(({ body }) => body.state);
const listed = async (state: string): Promise<string[]> =>
  (await listApprovals(line.db('acme'), line.keyRing, { first: 100, state, within: {} })).nodes.map(
    (node) => `${node.id} ${node.state}`,
  );

describe('the end of a run', () => {
  const close = async (runId: RunId): Promise<void> => {
    const watcher = createCloseWatcher({
      control: line.control,
      log: { info: () => undefined, warn: () => undefined },
      temporal: {
        end: async () => ({ execution: 'first', state: 'failed', message: 'it took too long' }),
      },
    });
    watcher.watch({ tenantId: ACME, runId, envelope: 'e' as never });
    await vi.waitFor(async () =>
      expect(
        await line.database.asOwner('SELECT 1 FROM runs WHERE id = $1 AND finished_at IS NOT NULL', [runId]),
      ).toHaveLength(1),
    );
    await watcher.stop();
  };

  it('ends what it still waited for, in the same commit, and nothing else', async () => {
    const [open, late, approved, rejected] = [
      await ask('T-1'),
      await ask('T-2'),
      await ask('T-3'),
      await ask('T-4'),
    ];
    const other = await ask('T-1', await line.newRun('acme'));
    await decide(approved, 'approved');
    await decide(rejected, 'rejected');
    await expire(late);
    await close(run.runId);
    expect(await Promise.all([open, late, approved, rejected, other].map(stateOf))).toEqual([
      'void',
      'expired',
      'approved',
      'rejected',
      'pending',
    ]);
    expect(
      await line.database.asOwner(
        'SELECT 1 FROM approvals a JOIN runs r ON r.id = a.run_id AND r.xmin = a.xmin WHERE a.id = ANY ($1)',
        [[open, late]],
      ),
    ).toHaveLength(2);
    expect(await recordsOf(open)).toEqual(['pending', 'void']);
    expect(await recordsOf(late)).toEqual(['pending', 'expired']);
    await expect(decide(open, 'approved')).rejects.toMatchObject({ code: 'INVALID_STATE' });
    expect(await listed('pending')).not.toContain(`${open} pending`);
    expect(await listed('void')).toContain(`${open} void`);

    // opened again by a reset, the run asks again: the old answer would have been another one's
    await line.database.asOwner('UPDATE runs SET finished_at = NULL WHERE id = $1', [run.runId]);
    const again = await ask('T-1');
    expect(again).not.toBe(open);
    expect(await stateOf(again)).toBe('pending');
    expect(line.tool.requests).toEqual([]);
  });

  it('that an admit overtook leaves nothing either', async () => {
    const id = await ask('T-1');
    await line.database.asOwner('UPDATE runs SET finished_at = now() WHERE id = $1', [run.runId]);
    expect(await endApprovals(line.control)).toBe(1);
    expect(await stateOf(id)).toBe('void');
    expect(await recordsOf(id)).toEqual(['pending', 'void']);
  });
});

describe('an approval whose time is up', () => {
  it('is told as expired at once, is written down as expired, and the call is answered so before and after', async () => {
    const [late, open] = [await ask('T-1'), await ask('T-2')];
    await expire(late);
    expect(await listed('expired')).toContain(`${late} expired`);
    expect((await listed('pending')).join()).not.toContain(late);
    expect(await ask('T-1')).toBe('approval_expired');
    expect(await endApprovals(line.control)).toBe(1);
    expect(await endApprovals(line.control)).toBe(0);
    expect(await Promise.all([late, open].map(stateOf))).toEqual(['expired', 'pending']);
    expect(await recordsOf(late)).toEqual(['pending', 'expired']);
    expect(await listed('expired')).toContain(`${late} expired`);
    expect(await ask('T-1')).toBe('approval_expired');
    await expect(decide(late, 'approved')).rejects.toMatchObject({ code: 'INVALID_STATE' });
  });

  it('is left to a decision that is being made at that moment', async () => {
    const id = await ask('T-1');
    await expire(id);
    const decision = new pg.Client({ connectionString: line.database.ownerUrl });
    await decision.connect();
    try {
      await decision.query('BEGIN');
      await decision.query("UPDATE approvals SET state = 'approved' WHERE id = $1", [id]);
      expect(await endApprovals(line.control)).toBe(0);
      await decision.query('ROLLBACK');
    } finally {
      await decision.end();
    }
    expect(await endApprovals(line.control)).toBe(1);
  });
});

describe('whoever watches approvals', () => {
  it('is told by the sealer what a call asked for and voided, by no call, and at once what a person decided', async () => {
    const sealer = createSealer({ control: line.control, onError: (error) => expect.fail(String(error)) });
    await sealer.sealOnce();
    const hints: string[] = [];
    const stop = await line.control.listen(CHANNELS.changes, (payload) => hints.push(payload));
    /** All that was told before now: commits tell in their order. */
    const told = async (): Promise<string[]> => {
      await line.control.query('SELECT pg_notify($1, $2)', [CHANNELS.changes, 'now']);
      await vi.waitFor(() => expect(hints).toContain('now'));
      return hints.splice(0).filter((hint) => hint !== 'now' && hint !== '');
    };
    const id = await ask('T-1');
    await line.publish('acme', [
      { ...(ASK as object), id: 'ask-others', approval: { approvers: ['operator'], expiresInSeconds: 600 } },
    ]);
    const other = await ask('T-1');
    expect([await stateOf(id), await stateOf(other)]).toEqual(['void', 'pending']);
    expect(await told()).toEqual([]);
    await sealer.sealOnce();
    expect(await told()).toEqual(['approvals acme']);
    await line.publish('acme', [ASK]);
    await decide(await ask('T-2'), 'approved');
    expect(await told()).toEqual(['approvals acme']);
    await stop();
  });
});

describe('attack: whoever holds the control door', () => {
  it.each([
    ['approves', "SET state = 'approved'", 'pending'],
    ['rejects', "SET state = 'rejected'", 'pending'],
    ['asks again', "SET state = 'pending'", 'void'],
    ['changes what is decided', "SET state = 'void'", 'approved'],
  ])('%s', async (_, set, from) => {
    const id = await ask('T-1');
    await line.database.asOwner('UPDATE approvals SET state = $2 WHERE id = $1', [id, from]);
    const changed = await line.control.query(`UPDATE approvals ${set} WHERE id = $1 RETURNING id`, [id]).then(
      (rows) => rows.length,
      (error: Error) => error.message,
    );
    expect(String(changed)).toMatch(/^0$|row-level security/);
    expect(await stateOf(id)).toBe(from);
  });

  it('names a decider', async () => {
    const id = await ask('T-1');
    const naming = line.control.query("UPDATE approvals SET decided_by = 'key:boss' WHERE id = $1", [id]);
    await expect(naming).rejects.toThrow(/permission denied/);
  });
});
