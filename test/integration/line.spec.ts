import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { toolId } from '@bulkhead/contract';
import type { Envelope, Json } from '@bulkhead/contract';
import { usage } from '@bulkhead/quota/admin';
import { storeSecret } from '@bulkhead/secret-broker/admin';
import { setToolEnabled } from '@bulkhead/tool-gateway/admin';
import { ALLOW_ALL, openLine, SECRET } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';
import { until } from '../support/until.js';
import { grant } from '../support/quotas.js';

let line: LineUnderTest;
let host: Host;
let run: Envelope;

beforeAll(async () => {
  line = await openLine();
});
afterAll(() => line.close());
beforeEach(async () => {
  line.tool.requests.length = 0;
  line.tool.answer = () => ({ done: true });
  await line.publish('acme', [ALLOW_ALL]);
  host = await line.newHost();
  run = await line.newRun('acme');
});

const effectsOf = (runId: string) =>
  line.database.asOwner<{ state: string; outcome: string | null; charged: string }>(
    'SELECT state, outcome, charged FROM effects WHERE run_id = $1 ORDER BY opened_at',
    [runId],
  );
/** Without the broker's: this file asks it anew for each call, a run does so once per tool. */
const recordsOf = async (runId: string): Promise<string[]> =>
  (
    await line.database.asOwner<{ kind: string }>(
      "SELECT kind FROM journal_records WHERE run_id = $1 AND kind <> 'grant' ORDER BY id",
      [runId],
    )
  ).map((row) => row.kind);
const usedToday = async (): Promise<number> => (await usage(line.db('acme'), new Date()))[0]!.used;
describe('one effect', () => {
  it('is decided, charged and written down before it is sent, and closed before it is answered', async () => {
    const before = await usedToday();
    let stateWhenSent: unknown;
    line.tool.answer = async () => {
      stateWhenSent = [await effectsOf(run.runId), (await recordsOf(run.runId)).slice(-1)];
      return { ticket: 'T-1' };
    };
    const answer = await host.call(run, 'desk.update', { id: 'T-1', text: 'hi' });
    expect(answer).toMatchObject({ kind: 'ok', value: { ticket: 'T-1' } });
    expect(stateWhenSent).toEqual([[{ state: 'open', outcome: null, charged: '1' }], ['run']]);
    expect(await effectsOf(run.runId)).toEqual([{ state: 'closed', outcome: 'ok', charged: '1' }]);
    expect(await recordsOf(run.runId)).toEqual(['run', 'intent', 'run', 'close']);
    expect(await usedToday()).toBe(before + 1);
    expect(line.tool.requests[0]?.headers).toMatchObject({ authorization: `Bearer ${SECRET}` });
  });

  it('is answered from its entry ever after: another attempt, another host, a newer policy', async () => {
    line.tool.answer = () => ({ at: line.tool.requests.length });
    const first = await host.call(run, 'desk.update', { id: 'T-1' });
    expect(await host.call(run, 'desk.update', { id: 'T-1' })).toEqual(first);
    expect(await (await line.newHost()).call(run, 'desk.update', { id: 'T-1' })).toEqual(first);
    await line.publish('acme', []);
    expect(await host.call(run, 'desk.update', { id: 'T-1' })).toEqual(first);
    expect(line.tool.requests).toHaveLength(1);
    await line.publish('acme', [ALLOW_ALL]);
    expect(await host.call(run, 'desk.update', { id: 'T-1' }, { n: 1 })).toMatchObject({ value: { at: 2 } });
  });

  it('attack: a tool that echoes its credential; it is in no answer and nowhere in the database', async () => {
    line.tool.answer = ({ headers }) => ({
      echo: headers.authorization ?? '',
      b64: Buffer.from(`u:${SECRET}`).toString('base64'),
    });
    const answer = await host.call(run, 'desk.read', { id: 'T-1' });
    expect(JSON.stringify(answer)).not.toContain(SECRET);
    expect(answer).toMatchObject({ kind: 'ok', value: { echo: 'Bearer [redacted]' } });
    const tables = await line.database.asOwner<{ name: string }>(
      "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'",
    );
    expect(tables.length).toBeGreaterThan(20);
    for (const { name } of tables) {
      const hits = await line.database.asOwner<{ hits: string }>(
        `SELECT count(*) AS hits FROM "${name}" t WHERE t::text LIKE ANY ($1)`,
        [
          [
            SECRET,
            encodeURIComponent(SECRET),
            Buffer.from(SECRET).toString('base64'),
            Buffer.from(SECRET).toString('hex'),
          ].map((form) => `%${form}%`),
        ],
      );
      expect([name, hits[0]?.hits]).toEqual([name, '0']);
    }
  });
});

describe('refusals', () => {
  it('are recorded with the rule that decided, and nothing is sent', async () => {
    await line.publish('acme', [
      ALLOW_ALL,
      { id: 'never-send', effect: 'deny', tools: ['desk.send'], reason: 'No.' },
    ]);
    expect(await host.call(run, 'desk.send', { id: 'T-1' })).toMatchObject({
      kind: 'denied',
      reason: { rule: 'never-send', message: 'No.' },
    });
    await line.publish('acme', []);
    expect(await host.call(run, 'desk.read', { id: 'T-1' })).toMatchObject({
      kind: 'denied',
      reason: { rule: 'default-deny' },
    });
    expect(line.tool.requests).toEqual([]);
    expect(await effectsOf(run.runId)).toEqual([]);
    expect(await recordsOf(run.runId)).toEqual(['run', 'decision', 'decision']);
  });

  it.each([
    ['desk.read', {}, 'args.id'],
    ['desk.read', { id: 7 }, 'args.id'],
    ['desk.read', { id: 'x', tenantId: 'globex' }, 'args.tenantId'],
    ['desk.read', { id: '..' }, 'args.id'],
    ['desk.read', null, 'args'],
    ['desk.read', { id: '\ud800' }, 'args'],
    ['no.such.tool', { id: 'x' }, 'toolId'],
  ])('%s %j names the field %s', async (tool, args, field) => {
    expect(await host.call(run, tool, args as Json)).toMatchObject({
      kind: 'invalid_input',
      reason: { field },
    });
    expect(await recordsOf(run.runId)).toEqual(['run', 'decision']);
    expect(line.tool.requests).toEqual([]);
  });

  it('a tool that was switched off is refused at once, although this host remembers it', async () => {
    await host.call(run, 'open.send', { id: 'a' });
    await setToolEnabled(line.db('acme'), toolId('open.send'), false);
    expect(await host.call(run, 'open.send', { id: 'b' })).toMatchObject({
      kind: 'invalid_input',
      reason: { field: 'toolId' },
    });
    await setToolEnabled(line.db('acme'), toolId('open.send'), true);
    expect(line.tool.requests).toHaveLength(1);
  });

  it('a policy that was published decides at once, although this host remembers the one before', async () => {
    await host.call(run, 'desk.read', { id: 'a' });
    await line.publish('acme', [{ id: 'stop', effect: 'deny', tools: ['*'] }, ALLOW_ALL]);
    expect(await host.call(run, 'desk.read', { id: 'b' })).toMatchObject({
      kind: 'denied',
      reason: { rule: 'stop' },
    });
  });
});

describe('budget', () => {
  it('50 calls at once with room for 10: exactly 10 are sent, and each refusal says why', async () => {
    const limit = (await usedToday()) + 10;
    await grant(line.db('acme'), 'tool_calls_per_day', limit);
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, n) => host.call(run, 'open.send', { id: 'T-1' }, { n })),
    );
    const kinds = Object.groupBy(answers, (answer) => answer.kind);
    expect([kinds.ok?.length, kinds.budget_exceeded?.length]).toEqual([10, 40]);
    expect(kinds.budget_exceeded?.[0]).toMatchObject({
      reason: { layer: 'tool_calls_per_day', limit, used: limit },
    });
    expect(line.tool.requests).toHaveLength(10);
    expect(await usedToday()).toBe(limit);
    await grant(line.db('acme'), 'tool_calls_per_day', 100_000);
  });

  it('what was provably not sent is refunded, and may be admitted again under the same key', async () => {
    const before = await usedToday();
    const gone = await host.call(run, 'desk.update', { id: 'T-1' }, { signal: AbortSignal.timeout(60_000) });
    expect(gone.kind).toBe('ok');
    await line.database.asOwner(
      "UPDATE secrets SET bound_hosts = '{elsewhere.example}' WHERE tenant_id = 'acme'",
    );
    // a fresh version, so that no remembered row answers
    await storeSecret(line.db('acme'), line.keyRing, {
      name: 'desk',
      access: 'mutate',
      boundHost: 'elsewhere.example',
      value: SECRET,
    });
    const refused = await host.call(run, 'desk.update', { id: 'T-2' });
    expect(refused).toMatchObject({
      kind: 'denied',
      reason: { message: expect.stringContaining('elsewhere.example') },
    });
    expect(await usedToday()).toBe(before + 1);
    await storeSecret(line.db('acme'), line.keyRing, {
      name: 'desk',
      access: 'mutate',
      boundHost: line.tool.host,
      value: SECRET,
    });
    expect(await host.call(run, 'desk.update', { id: 'T-2' })).toMatchObject({ kind: 'ok' });
    expect(await usedToday()).toBe(before + 2);
    expect(await recordsOf(run.runId)).toEqual([
      'run',
      'intent',
      'run',
      'close',
      'intent',
      'release',
      'intent',
      'close',
    ]);
  });
});

describe('who may act', () => {
  it('while one attempt is in flight another one is told to come back', async () => {
    let finish: (answer: Json) => void = () => undefined;
    line.tool.answer = () => new Promise((resolve) => (finish = resolve));
    const first = host.call(run, 'desk.update', { id: 'T-1' });
    await until(() => line.tool.requests.length === 1);
    await expect(host.call(run, 'desk.update', { id: 'T-1' })).rejects.toMatchObject({ code: 'EFFECT_HELD' });
    await expect((await line.newHost()).call(run, 'desk.update', { id: 'T-1' })).rejects.toMatchObject({
      code: 'EFFECT_HELD',
    });
    finish({ done: 1 });
    expect(await first).toMatchObject({ kind: 'ok' });
    expect(await host.call(run, 'desk.update', { id: 'T-1' })).toEqual(await first);
    expect(line.tool.requests).toHaveLength(1);
  });

  it('a host that died in the middle, tool without keys: one request, indeterminate, and for good', async () => {
    line.tool.answer = () => 'hang';
    const lost = host.call(run, 'desk.send', { id: 'T-1' });
    await until(() => line.tool.requests.length === 1);
    const heir = await line.newHost();
    await expect(heir.call(run, 'desk.send', { id: 'T-1' })).rejects.toMatchObject({ code: 'EFFECT_HELD' });
    await line.fence(host);
    expect(await heir.call(run, 'desk.send', { id: 'T-1' })).toMatchObject({ kind: 'indeterminate' });
    expect(await heir.call(run, 'desk.send', { id: 'T-1' })).toMatchObject({ kind: 'indeterminate' });
    // the fenced host comes back from its pause and may not settle any more
    await expect(lost).rejects.toMatchObject({ code: 'HOST_FENCED' });
    expect(line.tool.requests).toHaveLength(1);
    expect(await effectsOf(run.runId)).toEqual([{ state: 'closed', outcome: 'indeterminate', charged: '1' }]);
  });

  it('a host that died in the middle, tool that honours keys: repeated with the same key', async () => {
    line.tool.answer = () => 'hang';
    const lost = host.call(run, 'desk.update', { id: 'T-1' });
    await until(() => line.tool.requests.length === 1);
    await line.fence(host);
    line.tool.answer = () => ({ done: true });
    expect(await (await line.newHost()).call(run, 'desk.update', { id: 'T-1' })).toMatchObject({
      kind: 'ok',
    });
    await expect(lost).rejects.toMatchObject({ code: 'HOST_FENCED' });
    const keys = line.tool.requests.map((request) => request.headers['idempotency-key']);
    expect(keys).toEqual([keys[0], keys[0]]);
    expect(keys[0]).toMatch(/^bh-[0-9a-f]{40}$/);
  });

  it('sent without an answer: tool with keys again with the same key, tool without keys never again', async () => {
    line.tool.answer = () => 'drop';
    await expect(host.call(run, 'desk.update', { id: 'T-1' })).rejects.toMatchObject({ code: 'EFFECT_HELD' });
    expect(await host.call(run, 'desk.send', { id: 'T-1' })).toMatchObject({ kind: 'indeterminate' });
    line.tool.answer = () => ({ done: true });
    expect(await host.call(run, 'desk.update', { id: 'T-1' })).toMatchObject({ kind: 'ok' });
    expect(await host.call(run, 'desk.send', { id: 'T-1' })).toMatchObject({ kind: 'indeterminate' });
    expect(line.tool.requests).toHaveLength(3);
  });

  it('a tool that never answers is given up: a read as unavailable, a change as indeterminate', async () => {
    line.tool.answer = () => 'drop';
    expect(await host.call(run, 'desk.read', { id: 'T-1' }, { attempt: 8 })).toMatchObject({
      kind: 'provider_unavailable',
    });
    expect(await host.call(run, 'desk.update', { id: 'T-1' }, { attempt: 8 })).toMatchObject({
      kind: 'indeterminate',
    });
    expect(await host.call(run, 'desk.update', { id: 'T-1' })).toMatchObject({ kind: 'indeterminate' });
  });

  it('attack: a host that was fenced while its request was under way closes nothing', async () => {
    const answer = Promise.withResolvers<Json>();
    line.tool.answer = () => answer.promise;
    const call = host.call(run, 'desk.update', { id: 'T-1' }).catch((error: unknown) => error);
    await until(() => line.tool.requests.length === 1);
    await line.fence(host);
    answer.resolve({ done: true });
    expect(await call).toMatchObject({ code: 'HOST_FENCED' });
    expect(await effectsOf(run.runId)).toMatchObject([{ state: 'open', outcome: null }]);
  });

  it('a fenced host admits nothing, and a run that has ended gets no new effect', async () => {
    const done = await host.call(run, 'desk.read', { id: 'T-1' });
    await line.database.asOwner('UPDATE runs SET finished_at = now() WHERE id = $1', [run.runId]);
    expect(await host.call(run, 'desk.read', { id: 'T-1' })).toEqual(done);
    await expect(host.call(run, 'desk.read', { id: 'T-2' })).rejects.toMatchObject({ code: 'EFFECT_HELD' });
    await line.fence(host);
    const sent = line.tool.requests.length;
    await expect(host.call(await line.newRun('acme'), 'desk.read', { id: 'T-1' })).rejects.toMatchObject({
      code: 'HOST_FENCED',
    });
    expect(line.tool.requests).toHaveLength(sent);
  });
});

describe('control state', () => {
  const setState = (state: string) =>
    line
      .db('acme')
      .change((tx) => tx.$executeRaw`UPDATE tenants SET control_state = ${state} WHERE id = 'acme'`);

  it('after a pause commits, no admit commits under the old state, whatever is in flight', async () => {
    await line.database.asOwner('GRANT UPDATE (control_state) ON tenants TO bulkhead_app');
    const flood = Array.from({ length: 40 }, (_, n) => host.call(run, 'open.send', { id: 'T-1' }, { n }));
    await until(() => line.tool.requests.length > 0);
    await setState('paused');
    const admitted = await line.database.asOwner<{ n: string }>(
      'SELECT count(*) AS n FROM effects WHERE run_id = $1',
      [run.runId],
    );
    const kinds = Object.groupBy(await Promise.all(flood), (answer) => answer.kind);
    expect(kinds.ok?.length).toBe(Number(admitted[0]?.n));
    expect(line.tool.requests).toHaveLength(Number(admitted[0]?.n));
    expect((kinds.ok?.length ?? 0) + (kinds.parked?.length ?? 0)).toBe(40);
    expect(await host.call(run, 'open.send', { id: 'T-2' })).toMatchObject({
      kind: 'parked',
      state: 'paused',
    });
    await setState('open');
    expect(await host.call(run, 'open.send', { id: 'T-2' })).toMatchObject({ kind: 'ok' });
  });
});
