import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Envelope, Json } from '@bulkhead/contract';
import { listJournal } from '@bulkhead/journal/admin';
import { usage } from '@bulkhead/quota/admin';
import { PURPOSES } from '@bulkhead/runtime/keys';
import { findTool, putTool } from '@bulkhead/tool-gateway/admin';
import { ALLOW_ALL, openLine } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';
import { grant } from '../support/quotas.js';

let line: LineUnderTest;
let host: Host;
let run: Envelope;

beforeAll(async () => {
  line = await openLine();
  await line.publish('acme', [ALLOW_ALL]);
  host = await line.newHost();
  await declare('desk.dear', { costMicros: 700 });
  await declare('desk.metered', { costMicros: 1_000, costReportedAt: 'usage.micros' });
});
afterAll(() => line.close());
beforeEach(async () => {
  run = await line.newRun('acme');
  line.tool.answer = () => ({ done: true });
});

const db = () => line.db('acme');
const declare = async (name: string, more: object): Promise<void> => {
  const { spec } = await findTool(db(), 'desk.update');
  await putTool(db(), name, { ...(spec as { [name: string]: Json }), ...more });
};
const costs = async () =>
  (await usage(db(), new Date())).find(({ layer }) => layer === 'cost_micros_per_day')!;
const calls = async () => (await usage(db(), new Date()))[0]!.used;
const recorded = async (): Promise<unknown[]> =>
  (await listJournal(db(), run.runId))
    .filter(({ kind }) => kind === 'intent' || kind === 'close')
    .map(({ kind, body }) => [kind, (body as { costMicros?: number }).costMicros]);

describe('what a call costs', () => {
  it('is counted without a limit, is in the journal, and a tool without a cost counts nothing', async () => {
    expect(await costs()).toMatchObject({ limit: undefined, used: 0 });
    await host.call(run, 'desk.update', { id: 'a' });
    expect((await costs()).used).toBe(0);
    expect(await host.call(run, 'desk.dear', { id: 'a' })).toMatchObject({ kind: 'ok' });
    expect((await costs()).used).toBe(700);
    expect(await recorded()).toEqual([
      ['intent', undefined],
      ['close', undefined],
      ['intent', 700],
      ['close', 700],
    ]);
  });

  it('is taken before the call is sent: of many at once no more begin than the budget has room for', async () => {
    const before = await costs();
    const callsBefore = await calls();
    await grant(db(), 'cost_micros_per_day', before.used + 2_500);
    const sent = line.tool.requests.length;
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, n) => host.call(run, 'desk.dear', { id: 'b' }, { n })),
    );
    expect(answers.filter(({ kind }) => kind === 'ok')).toHaveLength(3);
    const refused = answers.filter(({ kind }) => kind === 'budget_exceeded');
    expect(refused).toHaveLength(5);
    expect(refused[0]).toMatchObject({
      reason: { layer: 'cost_micros_per_day', limit: before.used + 2_500, used: before.used + 2_100 },
    });
    expect(line.tool.requests.length - sent).toBe(3);
    expect((await costs()).used).toBe(before.used + 2_100);
    // what its cost refused counts as no call either
    expect((await calls()) - callsBefore).toBe(3);
    // a cheap one still goes
    expect(await host.call(run, 'desk.update', { id: 'b' })).toMatchObject({ kind: 'ok' });
  });

  it('is what the answer reports: less is given back, more is booked in full, beyond the budget too', async () => {
    const { used } = await costs();
    await grant(db(), 'cost_micros_per_day', used + 1_500);
    line.tool.answer = () => ({ usage: { micros: 200 } });
    await host.call(run, 'desk.metered', { id: 'c' });
    expect((await costs()).used).toBe(used + 200);
    line.tool.answer = () => ({ usage: { micros: 9_000 } });
    expect(await host.call(run, 'desk.metered', { id: 'd' })).toMatchObject({ kind: 'ok' });
    expect((await costs()).used).toBe(used + 9_200);
    expect(await host.call(run, 'desk.metered', { id: 'e' })).toMatchObject({ kind: 'budget_exceeded' });
    expect((await recorded()).slice(-2)).toEqual([
      ['intent', 1_000],
      ['close', 9_000],
    ]);
  });

  it.each([-5, 0.5, '7', null, 1e300])(
    'attack: an answer that reports %j changes nothing of what was reserved',
    async (micros) => {
      await grant(db(), 'cost_micros_per_day', 1_000_000);
      const { used } = await costs();
      line.tool.answer = () => ({ usage: { micros } });
      await host.call(run, 'desk.metered', { id: 'f' });
      expect((await costs()).used).toBe(used + 1_000);
    },
  );

  it('attack: a tool that only reports what it costs is not declared: no budget would hold for it', async () => {
    for (const costMicros of [{}, { costMicros: 0 }])
      await expect(
        declare('desk.free', { ...costMicros, costReportedAt: 'usage.micros' }),
      ).rejects.toMatchObject({ code: 'BAD_INPUT', field: 'costMicros' });
    // the least that it may say is enough: what was reported before stands in the way of the next
    await declare('desk.cheap', { costMicros: 1, costReportedAt: 'usage.micros' });
    const { used } = await costs();
    await grant(db(), 'cost_micros_per_day', used + 10);
    line.tool.answer = () => ({ usage: { micros: 10 } });
    expect(await host.call(run, 'desk.cheap', { id: 'h' })).toMatchObject({ kind: 'ok' });
    expect(await host.call(run, 'desk.cheap', { id: 'i' })).toMatchObject({ kind: 'budget_exceeded' });
    await grant(db(), 'cost_micros_per_day', 1_000_000);
  });

  it('is given back when nothing was sent, and kept when nobody knows', async () => {
    await declare('desk.away', {
      costMicros: 300,
      url: 'http://127.0.0.1:1/things/{id}',
      credential: undefined,
    });
    await declare('desk.blind', { costMicros: 50, idempotency: 'none' });
    const { used } = await costs();
    expect(await host.call(run, 'desk.away', { id: 'g' })).toMatchObject({ kind: 'provider_unavailable' });
    expect((await costs()).used).toBe(used);
    line.tool.answer = () => 'drop';
    expect(await host.call(run, 'desk.blind', { id: 'g' })).toMatchObject({ kind: 'indeterminate' });
    expect((await costs()).used).toBe(used + 50);
  });
});

describe('what undoes a call', () => {
  const undos = async (): Promise<unknown[]> => {
    const rows = await line.database.asOwner<{ undo: Buffer | null }>(
      'SELECT undo FROM effects WHERE run_id = $1 ORDER BY opened_at',
      [run.runId],
    );
    return Promise.all(
      rows.map(async ({ undo }) =>
        undo === null
          ? null
          : JSON.parse((await line.keyRing.open(run.tenantId, PURPOSES.effectUndo, undo)).toString('utf8')),
      ),
    );
  };

  it('is kept with the effect, from its arguments and its answer, and not made up where the answer lacks it', async () => {
    const compensation = {
      tool: 'desk.read',
      args: { id: { from: 'answer', path: 'made.id' }, text: { from: 'args', path: 'text' } },
    };
    await declare('desk.make', { compensation });
    line.tool.answer = () => ({ made: { id: 'N-1' } });
    await host.call(run, 'desk.make', { id: 'a', text: 'hello' });
    line.tool.answer = () => ({ made: null });
    await host.call(run, 'desk.make', { id: 'b', text: 'hello' });
    expect(await undos()).toEqual([{ tool: 'desk.read', args: { id: 'N-1', text: 'hello' } }, null]);
    const closed = (await listJournal(db(), run.runId)).filter(({ kind }) => kind === 'close');
    expect(closed.map(({ body }) => 'undoDigest' in (body as object))).toEqual([true, false]);
  });

  it('attack: that would be larger than an answer may be is not kept, and the call ends as it did', async () => {
    const from = { from: 'answer', path: 'd' };
    const compensation = { tool: 'desk.read', args: { id: from, text: from } };
    await declare('desk.large', { compensation, answerBytesMax: 262_144 });
    for (const size of [130_000, 132_000]) {
      line.tool.answer = () => ({ d: 'x'.repeat(size) });
      expect(await host.call(run, 'desk.large', { id: String(size) })).toMatchObject({ kind: 'ok' });
    }
    expect((await undos()).map((undo) => undo !== null)).toEqual([true, false]);
  });

  it.each([
    ['names no tool', { tool: 'desk.nothing', args: {} }, 'compensation.tool'],
    [
      'gives an argument that the tool has not',
      { tool: 'desk.read', args: { id: { value: 'x' }, no: { value: 1 } } },
      'compensation.args.no',
    ],
    [
      'lacks an argument that the tool needs',
      { tool: 'desk.read', args: { text: { value: 'x' } } },
      'compensation.args',
    ],
    [
      'has more than 32 arguments',
      {
        tool: 'desk.read',
        args: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`a${i}`, { value: 1 }])),
      },
      'compensation.args',
    ],
    [
      'takes an argument that the call has not',
      { tool: 'desk.read', args: { id: { from: 'args', path: 'nope' } } },
      'compensation.args.id',
    ],
  ])('a declaration whose compensation %s is refused', async (_, compensation, field) => {
    await expect(declare('desk.bad', { compensation })).rejects.toMatchObject({ code: 'BAD_INPUT', field });
  });
});
