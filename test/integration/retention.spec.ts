import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Envelope, Json } from '@bulkhead/contract';
import { createReaper } from '@bulkhead/journal/control';
import { removeContent } from '@bulkhead/journal/line';
import { listApprovals } from '@bulkhead/policy/admin';
import { findRun, requestRun } from '@bulkhead/runs/admin';
import { DAY_S, openKept } from '../support/kept.js';
import type { KeptWorld } from '../support/kept.js';
import { ALLOW_ALL } from '../support/line.js';
import type { LineUnderTest } from '../support/line.js';

let world: KeptWorld;
let line: LineUnderTest;

beforeAll(async () => {
  world = await openKept();
  ({ line } = world);
});
afterAll(() => line.close());
beforeEach(() => world.begin());

describe('what a policy does not keep any longer', () => {
  it('goes after its days and not before, each kind for itself, with a record of what, when and by which version', async () => {
    const { version } = await world.publish({ argumentsDays: 3, answersDays: 10, runsDays: 20 });
    const [young, old, older, oldest] = [
      await world.runWithCall(3 * DAY_S - 600),
      await world.runWithCall(3 * DAY_S + 60),
      await world.runWithCall(10 * DAY_S + 60),
      await world.runWithCall(20 * DAY_S + 60),
    ];
    await world.removeAll();
    expect(await Promise.all([young, old, older, oldest].map((run) => world.contentOf(run)))).toEqual([
      'arguments answer',
      '- answer',
      '- -',
      '- -',
    ]);
    expect(await world.removals(young)).toEqual([]);
    const by = { profile: 'default', policyVersion: version };
    expect(await world.removals(old)).toEqual([
      {
        removed: 'arguments',
        calls: [expect.stringMatching(/^[0-9a-f]{64}$/)],
        approvals: [],
        afterDays: 3,
        ...by,
      },
    ]);
    expect((await world.removals(oldest)).map(({ removed, afterDays }) => [removed, afterDays])).toEqual(
      [
        ['answers', 10],
        ['arguments', 3],
        ['content', 20],
      ].sort(),
    );
    const shown = await findRun(line.db('acme'), oldest.runId);
    expect(shown).toMatchObject({ start: null, result: null });
    for (const at of [shown?.argumentsRemovedAt, shown?.answersRemovedAt, shown?.contentRemovedAt])
      expect(at).toBeInstanceOf(Date);
    expect(await findRun(line.db('acme'), young.runId)).toMatchObject({
      start: {},
      argumentsRemovedAt: undefined,
      answersRemovedAt: undefined,
      contentRemovedAt: undefined,
    });
    expect(await world.verified()).toMatchObject({ chain: { ok: true }, problems: [] });
    // once is once
    await world.removeAll();
    expect(await world.removals(oldest)).toHaveLength(3);
  });

  it('a longer time that is published counts at once, and no settings at all keep everything', async () => {
    await world.publish({ answersDays: 10 });
    const run = await world.runWithCall(5 * DAY_S);
    await world.publish({});
    await world.removeAll();
    expect(await world.contentOf(run)).toBe('arguments answer');
    await world.publish({ answersDays: 4 });
    await world.removeAll();
    expect(await world.contentOf(run)).toBe('arguments -');
  });

  it('days of one tenant are no days of another', async () => {
    await world.publish({ argumentsDays: 1 });
    const [ours, theirs] = [
      await world.runWithCall(2 * DAY_S),
      await world.runWithCall(2 * DAY_S, { tenant: 'globex' }),
    ];
    await world.removeAll('acme');
    await world.removeAll('globex');
    expect(await world.contentOf(ours)).toBe('- answer');
    expect(await world.contentOf(theirs)).toBe('arguments answer');
  });

  it('nothing of a run that goes on, whatever it is, nor of one whose parent goes on', async () => {
    await world.publish({ argumentsDays: 0, answersDays: 0, runsDays: 0 });
    const running = await world.runWithCall();
    const parent = await world.newRun();
    const child = { ...parent, runId: `${parent.runId}/0.1` as Envelope['runId'] };
    await line.db('acme').call('accept_run', {
      id: child.runId,
      workspaceId: 'main',
      agentId: 'tester',
      workflowType: 'none',
      idempotencyKey: child.runId,
      inputDigest: '00',
      input: {},
      envelope: 'none',
      actor: child.actor,
    });
    await world.host.call(child, 'desk.update', { id: 'k1' });
    await world.ended(child, DAY_S);
    await world.removeAll();
    expect(await world.contentOf(running)).toBe('arguments answer');
    expect(await world.contentOf(child)).toBe('arguments answer');
    await world.ended(parent, DAY_S);
    await world.removeAll();
    expect(await world.contentOf(child)).toBe('- -');
  });

  it('0 days are a minute: a call that was being admitted when its run ended is over by then', async () => {
    await world.publish({ argumentsDays: 0 });
    const [now, then] = [await world.runWithCall(0), await world.runWithCall(70)];
    await world.removeAll();
    expect(await world.contentOf(now)).toBe('arguments answer');
    expect(await world.contentOf(then)).toBe('- answer');
  });

  it('waits for the end of a call that nobody knows the end of', async () => {
    await world.publish({ argumentsDays: 0, answersDays: 0 });
    const run = await world.runWithCall();
    line.tool.answer = () => 'drop';
    await expect(world.host.call(run, 'desk.update', { id: 'k2' })).rejects.toMatchObject({
      code: 'EFFECT_HELD',
    });
    line.tool.answer = () => ({ done: true });
    await world.ended(run, DAY_S);
    await world.removeAll();
    expect((await world.contentOf(run)).match(/arguments/g)).toHaveLength(2);
    await line.database.asOwner(
      "UPDATE effects SET deadline_at = now() - interval '1 second' WHERE state = 'open' AND run_id = $1",
      [run.runId],
    );
    const reaper = createReaper({
      control: line.control,
      log: { warn: () => undefined },
      marginSeconds: { liveRun: 900, endedRun: 0 },
    });
    expect(await reaper.reapOnce()).toHaveLength(1);
    await world.removeAll();
    expect(await world.contentOf(run)).toBe('- -, - -');
  });

  it('what an approval showed goes with the arguments, also under `digest`; while one is pending all of the run stays', async () => {
    const approval = { approvers: ['admin'], expiresInSeconds: 600 };
    const asking = [{ ...(ALLOW_ALL as object), approval } as Json];
    await world.publish({}, { rules: asking, audit: { arguments: 'digest' } });
    const run = await world.newRun();
    const asked = await world.host.call(run, 'desk.send', { id: 'a1', text: 'secret plan' });
    const other = await world.host.call(run, 'desk.send', { id: 'a2' });
    expect([asked.kind, other.kind]).toEqual(['approval_required', 'approval_required']);
    const idOf = (answer: typeof asked): string =>
      answer.kind === 'approval_required' ? String(answer.reason.approvalId) : '';
    await line.database.asOwner("UPDATE approvals SET state = 'rejected' WHERE id = $1", [idOf(asked)]);
    await world.ended(run, DAY_S);
    const shown = async (id: string) =>
      (await listApprovals(line.db('acme'), line.keyRing, { first: 1, within: { id } })).nodes[0];
    await world.removeAll();
    for (const [answer, args] of [
      [asked, { id: 'a1', text: 'secret plan' }],
      [other, { id: 'a2' }],
    ] as const)
      expect(await shown(idOf(answer))).toMatchObject({ arguments: args, argumentsRemovedAt: undefined });
    await line.database.asOwner("UPDATE approvals SET state = 'void' WHERE id = $1", [idOf(other)]);
    await world.removeAll();
    for (const answer of [asked, other])
      expect(await shown(idOf(answer))).toMatchObject({
        arguments: undefined,
        consequences: undefined,
        argumentsRemovedAt: expect.any(Date),
      });
    expect((await world.removals(run))[0]).toMatchObject({
      removed: 'arguments',
      approvals: [idOf(asked), idOf(other)].sort(),
      afterDays: 0,
    });
  });

  it('only of an active tenant: what is suspended or offboarded waits for a decision', async () => {
    await world.publish({ argumentsDays: 1 });
    const run = await world.runWithCall(2 * DAY_S);
    for (const status of ['suspended', 'offboarding', 'erasing']) {
      await line.database.asOwner('UPDATE tenants SET status = $1', [status]);
      expect(await removeContent(line.db('acme'))).toEqual({ more: false });
    }
    expect(await world.contentOf(run)).toBe('arguments answer');
    await line.database.asOwner("UPDATE tenants SET status = 'active'");
    await world.removeAll();
    expect(await world.contentOf(run)).toBe('- answer');
  });

  it('takes out of a signal what it carried, once it is done, and nothing else of it', async () => {
    await world.publish({ runsDays: 1 });
    const run = await world.runWithCall(2 * DAY_S);
    const put = (done: string, detail: Json) =>
      line.database.asOwner(
        `INSERT INTO run_requests (tenant_id, run_id, kind, reason, actor, detail, done_at)
         VALUES ('acme', $1, 'signal', 'r', 'a', $2, ${done})`,
        [run.runId, JSON.stringify(detail)],
      );
    await put('NULL', { name: 'note', args: ['sealed'] });
    await world.removeAll();
    expect(await findRun(line.db('acme'), run.runId)).toMatchObject({
      start: {},
      contentRemovedAt: undefined,
    });
    await line.database.asOwner('UPDATE run_requests SET done_at = now()');
    await world.removeAll();
    expect(await findRun(line.db('acme'), run.runId)).toMatchObject({ start: null });
    const [row] = await line.database.asOwner<{ detail: Json }>('SELECT detail FROM run_requests');
    expect(row?.detail).toEqual({ name: 'note' });
    // the door that removes can neither put something in nor change what is still to be done
    const change = (sql: string) => line.db('acme').run((tx) => tx.$executeRawUnsafe(sql));
    await expect(change(`UPDATE run_requests SET detail = '{"name":"note","args":["x"]}'`)).rejects.toThrow(
      'only the arguments',
    );
    await line.database.asOwner('UPDATE run_requests SET done_at = NULL');
    await expect(change(`UPDATE run_requests SET detail = detail - 'args'`)).rejects.toThrow(
      'only the arguments',
    );
  });
});

describe('a run whose answers are gone', () => {
  it('is not opened again by a reset, which would find nothing to return', async () => {
    await world.publish({ answersDays: 1 });
    const [gone, kept] = [await world.runWithCall(2 * DAY_S), await world.runWithCall(60)];
    await world.removeAll();
    const reset = (run: Envelope) =>
      requestRun(
        line.db('acme'),
        { runId: run.runId, action: { kind: 'reset', point: { to: 'first' } }, reason: 'r', actor: 'a' },
        { sealArguments: () => Promise.resolve([]) },
      );
    await expect(reset(gone)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    const half = await world.newRun();
    for (const id of ['h1', 'h2', 'h3']) await world.host.call(half, 'desk.update', { id });
    await world.ended(half, 2 * DAY_S);
    await removeContent(line.db('acme'), { calls: 2, runs: 1 });
    expect((await world.contentOf(half)).match(/answer/g)).toHaveLength(1);
    await expect(reset(half)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    expect(await reset(kept)).toEqual({ created: true });
  });

  it('opened again from outside, repeats no call and says why; and is cleared once more when it has ended', async () => {
    await world.publish({ answersDays: 1 });
    const run = await world.runWithCall(2 * DAY_S);
    await world.removeAll();
    await line.database.asOwner("UPDATE runs SET state = 'running', finished_at = NULL WHERE id = $1", [
      run.runId,
    ]);
    const sent = line.tool.requests.length;
    await expect(
      world.host.call(run, 'desk.update', { id: 'k1', text: 'to be forgotten' }),
    ).rejects.toMatchObject({
      code: 'ANSWER_REMOVED',
    });
    expect(line.tool.requests).toHaveLength(sent);
    expect(await world.host.call(run, 'desk.update', { id: 'k2' })).toMatchObject({ kind: 'ok' });
    await world.removeAll();
    expect((await world.contentOf(run)).match(/answer/g)).toHaveLength(1);
    await line.database.asOwner(
      "UPDATE runs SET answers_removed_at = now() - interval '3 days', finished_at = now() - interval '2 days' WHERE id = $1",
      [run.runId],
    );
    await world.removeAll();
    expect(await world.contentOf(run)).toBe('arguments -, arguments -');
  });
});

describe('the one that removes', () => {
  it('works in batches that each stand for themselves: killed between any two, it goes on where it was', async () => {
    await world.publish({ argumentsDays: 1 });
    const run = await world.newRun();
    for (let n = 0; n < 7; n += 1) await world.host.call(run, 'desk.update', { id: `b${n}` });
    const other = await world.runWithCall(2 * DAY_S);
    await world.ended(run, 3 * DAY_S);
    const left: number[] = [];
    for (let more = true; more;) {
      ({ more } = await removeContent(line.db('acme'), { calls: 3, runs: 5 }));
      left.push(((await world.contentOf(run)).match(/arguments/g) ?? []).length);
    }
    expect(left.slice(0, 3)).toEqual([4, 1, 0]);
    expect(await world.contentOf(other)).toBe('- answer');
    const calls = (await world.removals(run)).map((body) => (body['calls'] as Json[]).length);
    expect(calls).toEqual([3, 3, 1]);
    expect(await world.verified()).toMatchObject({ chain: { ok: true }, problems: [] });
  });

  it('of many at once one removes, and a call of another run waits for none of them', async () => {
    await world.publish({ argumentsDays: 1 });
    const runs: Envelope[] = [];
    for (let n = 0; n < 6; n += 1) runs.push(await world.runWithCall(2 * DAY_S, { id: `c${n}` }));
    const live = await world.newRun();
    const [calls] = await Promise.all([
      Promise.all(Array.from({ length: 8 }, (_, n) => world.host.call(live, 'desk.update', { id: `l${n}` }))),
      ...Array.from({ length: 8 }, () => removeContent(line.db('acme'))),
    ]);
    expect(calls.every(({ kind }) => kind === 'ok')).toBe(true);
    await world.removeAll();
    for (const run of runs) expect(await world.removals(run)).toHaveLength(1);
    expect((await world.contentOf(live)).match(/arguments/g)).toHaveLength(8);
  });

  it('a call goes through while a batch is held up in the middle', async () => {
    await world.publish({ argumentsDays: 1 });
    const [run, live] = [await world.runWithCall(2 * DAY_S), await world.newRun()];
    let answered: string | undefined;
    await line.db('acme').run(async (tx) => {
      await tx.$queryRaw`SELECT remove_content('{"tenantId":"acme","calls":200,"runs":50}')`;
      answered = (await world.host.call(live, 'desk.update', { id: 'm1' })).kind;
      await world.publish({ argumentsDays: 1 });
    });
    expect(answered).toBe('ok');
    expect(await world.contentOf(run)).toBe('- answer');
  });

  it('removes nothing by a policy that it cannot read', async () => {
    await world.publish({ argumentsDays: 1 });
    const run = await world.runWithCall(2 * DAY_S);
    await line.database.asOwner(
      `UPDATE policies SET document = jsonb_set(document, '{settings,retention,argumentsDays}', '"soon"')
        WHERE tenant_id = 'acme' AND version = (SELECT max(version) FROM policies WHERE tenant_id = 'acme')`,
    );
    await expect(removeContent(line.db('acme'))).rejects.toThrow('soon');
    expect(await world.contentOf(run)).toBe('arguments answer');
  });
});
