import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Envelope } from '@bulkhead/contract';
import { createReaper, createSealer, verifyTenant } from '@bulkhead/journal/control';
import type { Reaper } from '@bulkhead/journal/control';
import { usage } from '@bulkhead/quota/admin';
import { openLine } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';
import { seededRandom } from '../support/random.js';

describe('the reaper', () => {
  let line: LineUnderTest;
  let reaper: Reaper;
  let host: Host;
  let run: Envelope;
  const warnings: object[] = [];
  const lost: Promise<unknown>[] = [];

  beforeAll(async () => {
    line = await openLine();
    reaper = createReaper({ control: line.control, log: { warn: (fields) => warnings.push(fields) } });
  });
  afterAll(async () => {
    await Promise.all(lost);
    await line.close();
  });
  beforeEach(async () => {
    line.tool.requests.length = 0;
    line.tool.answer = () => 'hang';
    host = await line.newHost();
    run = await line.newRun('acme');
  });

  const openEffects = (runId: string) =>
    line.database.asOwner<{ key: string; state: string; outcome: string | null }>(
      'SELECT key, state, outcome FROM effects WHERE run_id = $1',
      [runId],
    );
  const closings = (runId: string) =>
    line.database.asOwner<{ key: string; body: { outcome: string; by: string } }>(
      "SELECT key, body FROM journal_records WHERE run_id = $1 AND kind = 'close'",
      [runId],
    );
  /** The clock is the database's, so the effect is made old, not the test slow. */
  const age = (runId: string, seconds: number) =>
    line.database.asOwner(
      'UPDATE effects SET deadline_at = now() - make_interval(secs => $2) WHERE run_id = $1',
      [runId, seconds],
    );
  const endRun = (runId: string) =>
    line.database.asOwner("UPDATE runs SET state = 'failed', finished_at = now() WHERE id = $1", [runId]);
  const sent = async (count: number): Promise<void> => {
    for (let i = 0; i < 500 && line.tool.requests.length < count; i += 1)
      await new Promise((resolve) => setTimeout(resolve, 10));
    expect(line.tool.requests).toHaveLength(count);
  };
  /** A request under way on a host that then falls silent and is fenced. */
  const loseCall = async (tool: string): Promise<void> => {
    lost.push(host.call(run, tool, { id: 'T-1' }).catch((error: unknown) => error));
    await sent(1);
    await line.fence(host);
  };

  it.each(['desk.update', 'desk.send'])(
    'a host killed in the middle of %s whose run was terminated: nobody retries, and the entry gets its end, paid in full',
    async (tool) => {
      const before = (await usage(line.db('acme'), new Date()))[0]!.used;
      await loseCall(tool);
      await endRun(run.runId);
      expect(await reaper.reapOnce()).toEqual([]);
      await age(run.runId, 9);
      expect(await reaper.reapOnce()).toEqual([]);
      await age(run.runId, 11);
      expect(await reaper.reapOnce()).toMatchObject([{ tenantId: 'acme', runId: run.runId }]);
      expect(await openEffects(run.runId)).toMatchObject([{ state: 'closed', outcome: 'indeterminate' }]);
      expect(await closings(run.runId)).toMatchObject([{ body: { outcome: 'indeterminate', by: 'reaper' } }]);
      expect((await usage(line.db('acme'), new Date()))[0]!.used).toBe(before + 1);
      expect(warnings.at(-1)).toMatchObject({ runId: run.runId });
    },
  );

  it('a live run has a quarter of an hour to come back for its answer', async () => {
    await loseCall('desk.update');
    await age(run.runId, 890);
    expect(await reaper.reapOnce()).toEqual([]);
    await age(run.runId, 910);
    expect(await reaper.reapOnce()).toHaveLength(1);
    const heir = await line.newHost();
    expect(await heir.call(run, 'desk.update', { id: 'T-1' })).toMatchObject({ kind: 'indeterminate' });
    expect(line.tool.requests).toHaveLength(1);
  });

  it('what a live host holds is never taken from it, however late it is', async () => {
    const call = host.call(run, 'desk.update', { id: 'T-1' }).catch((error: unknown) => error);
    await sent(1);
    await endRun(run.runId);
    await age(run.runId, 86_400);
    expect(await reaper.reapOnce()).toEqual([]);
    await call;
    // the host has said that its attempt ended: now nobody holds it
    expect(await reaper.reapOnce()).toHaveLength(1);
  });

  it('a fenced host that wakes up cannot settle what was reaped, and the sealed journal agrees with the ledger', async () => {
    const late = host.call(run, 'desk.send', { id: 'T-1' }).catch((error: unknown) => error);
    await sent(1);
    await line.fence(host);
    await endRun(run.runId);
    await age(run.runId, 60);
    expect(await reaper.reapOnce()).toHaveLength(1);
    expect(await late).toMatchObject({ code: 'HOST_FENCED' });
    expect(await closings(run.runId)).toHaveLength(1);
    const fail = (error: unknown): never => {
      throw error;
    };
    const sealer = createSealer({ control: line.control, onError: fail });
    while ((await sealer.sealOnce()) > 0);
    expect(await verifyTenant(line.control, 'acme')).toMatchObject({ chain: { ok: true }, problems: [] });
  });

  it('attack: reapers, settling holders and heirs race in random order: each effect is closed once', async () => {
    const random = seededRandom();
    const db = line.db('acme');
    const eager = createReaper({
      control: line.control,
      log: { warn: () => undefined },
      marginSeconds: { liveRun: 0, endedRun: 0 },
    });
    for (let round = 0; round < 12; round += 1) {
      const holder = await line.newHost();
      const heir = await line.newHost();
      const keys = Array.from({ length: 6 }, () => randomUUID());
      await line.database.asOwner(
        `INSERT INTO effects (tenant_id, key, run_id, workflow_id, temporal_run_id, tool_id, tool_version, effect_class, idempotency,
           holder_host, holder_token, holder_ended, policy_version, rule, target, "window", charged, request, deadline_at)
         SELECT 'acme', k, $2, $2, 't', 'desk.update', 1, 'write', 'keyed', $3, 'one', $4, 1, 'allow-all', 't', 'w', 1, '', now() - interval '1 hour'
           FROM unnest($1::text[]) k`,
        [keys, run.runId, holder.id, random.below(2) === 0],
      );
      const settle = (key: string, ending: string) => () =>
        db.call('settle', { key, host: holder.id, token: 'one', ending, outcome: 'ok' }, Buffer.from('AAAA'));
      const steps = keys.flatMap((key) => [
        settle(key, 'answered'),
        settle(key, random.below(2) === 0 ? 'answered' : 'not_sent'),
        () => eager.reapOnce(),
      ]);
      steps.push(() => line.fence(holder).then(() => eager.reapOnce()));
      steps.push(() => line.fence(heir));
      steps.sort(() => random.below(3) - 1);
      await Promise.all(steps.map((step) => step()));
      await eager.reapOnce();
      const ends = await line.database.asOwner<{ key: string; n: string }>(
        "SELECT key, count(*) AS n FROM journal_records WHERE key = ANY ($1) AND kind IN ('close', 'release') GROUP BY key",
        [keys],
      );
      expect(
        ends.map((end) => end.n),
        `seed ${random.seed}, round ${round}`,
      ).toEqual(keys.map(() => '1'));
      const open = await line.database.asOwner(
        "SELECT 1 FROM effects WHERE key = ANY ($1) AND state = 'open'",
        [keys],
      );
      expect(open).toEqual([]);
    }
  });
});
