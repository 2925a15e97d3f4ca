import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Envelope, Json } from '@bulkhead/contract';
import { usage } from '@bulkhead/quota/admin';
import { putTool } from '@bulkhead/tool-gateway/admin';
import { ALLOW_ALL, openLine } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';

let line: LineUnderTest;
let host: Host;
let run: Envelope;

beforeAll(async () => {
  line = await openLine();
  const inputSchema: Json = {
    type: 'object',
    properties: { id: { type: 'string' }, amount: { type: 'number' } },
    required: ['id'],
    additionalProperties: false,
  };
  const base = {
    adapter: 'http',
    description: 'x',
    inputSchema,
    url: `${line.tool.url}/things/{id}`,
  } as const;
  await putTool(line.db('acme'), 'crm.read', {
    ...base,
    method: 'GET',
    effect: 'read',
    idempotency: 'natural',
    dataClasses: ['personal'],
  });
  await putTool(line.db('acme'), 'bank.pay', {
    ...base,
    method: 'POST',
    effect: 'irreversible',
    idempotency: 'none',
  });
});
afterAll(() => line.close());
beforeEach(async () => {
  line.tool.requests.length = 0;
  line.tool.answer = () => ({ done: true });
  await line.database.asOwner('DELETE FROM policy_counters');
  host = await line.newHost();
  run = await line.newRun('acme');
});

const limit = (over: object, rest: object = {}): Json =>
  ({
    id: 'limit',
    effect: 'limit',
    tools: ['bank.*'],
    limit: { max: 5, per: 'day', of: 'tenant', ...over },
    ...rest,
  }) as Json;
const usedOf = async (): Promise<number[]> =>
  (await line.database.asOwner<{ used: string }>('SELECT used FROM policy_counters ORDER BY rule')).map(
    (row) => Number(row.used),
  );
const pay = (n: number, amount: number, on: Host = host, by: Envelope = run) =>
  on.call(by, 'bank.pay', { id: `p${n}`, amount });

describe('a limit of the policy', () => {
  it('holds under concurrency, over two hosts and many runs: at most N calls', async () => {
    await line.publish('acme', [ALLOW_ALL, limit({ max: 7 })]);
    const hosts = [host, await line.newHost()];
    const runs = await Promise.all(Array.from({ length: 4 }, () => line.newRun('acme')));
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, i) => pay(i, 1, hosts[i % 2]!, runs[i % 4]!)),
    );
    expect(answers.filter(({ kind }) => kind === 'ok')).toHaveLength(7);
    expect(answers.filter(({ kind }) => kind === 'budget_exceeded')).toHaveLength(33);
    expect(line.tool.requests).toHaveLength(7);
    expect(await usedOf()).toEqual([7]);
    expect(answers.find(({ kind }) => kind === 'budget_exceeded')).toMatchObject({
      reason: {
        rule: 'limit',
        layer: 'policy',
        limit: 7,
        used: 7,
        resetsAt: expect.stringMatching(/T00:00:00Z$/),
      },
    });
  });

  it('a running total is never overrun, whatever comes at once, and the books agree with the world', async () => {
    await line.publish('acme', [
      ALLOW_ALL,
      limit({ max: 100, sum: 'args.amount' }),
      limit({ max: 60, sum: 'args.amount', of: 'run', per: 'ever' }, { id: 'per-run' }),
    ]);
    const runs = await Promise.all(Array.from({ length: 3 }, () => line.newRun('acme')));
    const amounts = Array.from({ length: 45 }, (_, i) => 1 + ((i * 7) % 13) + 0.25);
    const quotaBefore = (await usage(line.db('acme'), new Date()))[0]!.used;
    const answers = await Promise.all(amounts.map((amount, i) => pay(i, amount, host, runs[i % 3]!)));
    const paid = amounts.filter((_, i) => answers[i]?.kind === 'ok');
    const total = paid.reduce((sum, amount) => sum + amount, 0);
    expect(total).toBeLessThanOrEqual(100);
    expect(total).toBeGreaterThan(100 - 14.25);
    const rows = await line.database.asOwner<{ scope: string; used: string }>(
      'SELECT scope, used FROM policy_counters',
    );
    expect(Number(rows.find((row) => row.scope === 'tenant')?.used)).toBe(total);
    const perRun = rows.filter((row) => row.scope.startsWith('run:'));
    expect(perRun.reduce((sum, row) => sum + Number(row.used), 0)).toBe(total);
    expect(perRun.every((row) => Number(row.used) <= 60)).toBe(true);
    // what a limit refused costs nothing of the tenant's own quota
    expect((await usage(line.db('acme'), new Date()))[0]!.used - quotaBefore).toBe(paid.length);
    expect(line.tool.requests).toHaveLength(paid.length);
  });

  it('is given back when the request was provably not sent, and kept when it may have been', async () => {
    await line.publish('acme', [ALLOW_ALL, limit({ max: 5 })]);
    await putTool(line.db('acme'), 'bank.closed', {
      adapter: 'http',
      description: 'x',
      inputSchema: { type: 'object', properties: {}, additionalProperties: false },
      url: 'http://127.0.0.1:1/x',
      method: 'POST',
      effect: 'irreversible',
      idempotency: 'none',
    });
    expect(await host.call(run, 'bank.closed', {})).toMatchObject({ kind: 'provider_unavailable' });
    expect(await usedOf()).toEqual([0]);
    line.tool.answer = () => 'drop';
    expect(await pay(1, 1)).toMatchObject({ kind: 'indeterminate' });
    expect(await usedOf()).toEqual([1]);
  });

  it('a retry and a reset take nothing twice', async () => {
    await line.publish('acme', [ALLOW_ALL, limit({ max: 5 })]);
    await pay(1, 1);
    await pay(1, 1);
    expect(await usedOf()).toEqual([1]);
  });

  it('waits for the person first: a call that nobody approved takes nothing', async () => {
    const approval = { approvers: ['admin'], expiresInSeconds: 600 };
    await line.publish('acme', [{ ...(ALLOW_ALL as object), approval } as Json, limit({ max: 5 })]);
    expect(await pay(1, 1)).toMatchObject({ kind: 'approval_required' });
    expect(await usedOf()).toEqual([]);
  });
});

describe('what the run has read and done', () => {
  const tainted: Json = {
    id: 'personal-stays',
    effect: 'deny',
    tools: ['bank.*'],
    when: { 'run.read.personal': { eq: true } },
  };
  it('taint is there from the next call on, of this run and no other', async () => {
    await line.publish('acme', [ALLOW_ALL, tainted]);
    expect(await pay(1, 1)).toMatchObject({ kind: 'ok' });
    expect(await host.call(run, 'crm.read', { id: 'c' })).toMatchObject({ kind: 'ok' });
    expect(await pay(2, 1)).toMatchObject({ kind: 'denied', reason: { rule: 'personal-stays' } });
    expect(await pay(2, 1, host, await line.newRun('acme'))).toMatchObject({ kind: 'ok' });
  });

  it('an answer that is an error taints too, and one that never came does not', async () => {
    await line.publish('acme', [ALLOW_ALL, tainted]);
    line.tool.raw = () => ({ status: 500, body: '{"name":"Ann"}' });
    await host.call(run, 'crm.read', { id: 'c' });
    line.tool.raw = undefined;
    expect(await pay(2, 1)).toMatchObject({ kind: 'denied' });
    const fresh = await line.newRun('acme');
    line.tool.answer = () => 'drop';
    await expect(host.call(fresh, 'crm.read', { id: 'c' })).rejects.toMatchObject({ code: 'EFFECT_HELD' });
    line.tool.answer = () => ({ done: true });
    expect(await pay(2, 1, host, fresh)).toMatchObject({ kind: 'ok' });
  });

  it('approve before pay: only a closed effect that succeeded counts', async () => {
    await line.publish('acme', [
      ALLOW_ALL,
      { id: 'read-first', effect: 'deny', tools: ['bank.*'], when: { 'run.done.crm.read': { eq: false } } },
    ]);
    expect(await pay(1, 1)).toMatchObject({ kind: 'denied', reason: { rule: 'read-first' } });
    let whileOpen: unknown;
    line.tool.answer = async () => {
      if (whileOpen === undefined) {
        whileOpen = null;
        whileOpen = (await pay(1, 1)).kind;
      }
      return { done: true };
    };
    expect(await host.call(run, 'crm.read', { id: 'c' })).toMatchObject({ kind: 'ok' });
    expect(whileOpen).toBe('denied');
    expect(await pay(1, 1)).toMatchObject({ kind: 'ok' });
  });
});

describe('a publish', () => {
  const versionsOf = (runId: string) =>
    line.database.asOwner<{ version: number; rule: string; observed: string | null }>(
      `SELECT (body->>'policyVersion')::int AS version, body->>'rule' AS rule, body->'observed'->>'rule' AS observed
         FROM journal_records WHERE run_id = $1 AND kind IN ('intent', 'decision') ORDER BY id`,
      [runId],
    );

  it('reaches a run in flight at its next admit, and each entry shows its version and rule', async () => {
    await line.publish('acme', [ALLOW_ALL]);
    expect(await pay(1, 1)).toMatchObject({ kind: 'ok' });
    await line.publish('acme', [ALLOW_ALL, { id: 'stop', effect: 'deny', tools: ['bank.*'] }]);
    // this host remembers the version before, and does not act on it
    expect(await pay(2, 1)).toMatchObject({ kind: 'denied', reason: { rule: 'stop' } });
    const [first, second] = await versionsOf(run.runId);
    expect(first).toMatchObject({ rule: 'allow-all' });
    expect(second).toEqual({ version: first!.version + 1, rule: 'stop', observed: null });
  });

  it('in observe mode refuses nothing and journals what it would have refused', async () => {
    await line.publish('acme', [ALLOW_ALL, { id: 'stop', effect: 'deny', tools: ['bank.*'] }], 'observe');
    expect(await pay(1, 1)).toMatchObject({ kind: 'ok' });
    expect(await versionsOf(run.runId)).toMatchObject([{ rule: 'observe-only', observed: 'stop' }]);
  });

  it('read-only stops what changes something and lets reads go on', async () => {
    await line.publish('acme', [ALLOW_ALL], 'read-only');
    expect(await pay(1, 1)).toMatchObject({ kind: 'denied', reason: { rule: 'read-only' } });
    expect(await host.call(run, 'crm.read', { id: 'c' })).toMatchObject({ kind: 'ok' });
  });
});

describe('an approval', () => {
  it('is void once the decision about its call is another, and asking again is a new request', async () => {
    const rule = (approvers: string[]): Json =>
      ({ ...(ALLOW_ALL as object), approval: { approvers, expiresInSeconds: 600 } }) as Json;
    await line.publish('acme', [rule(['admin'])]);
    const first = await pay(1, 1);
    await line.database.asOwner("UPDATE approvals SET state = 'approved' WHERE run_id = $1", [run.runId]);
    await line.publish('acme', [rule(['operator'])]);
    const second = await pay(1, 1);
    expect(second).toMatchObject({ kind: 'approval_required' });
    await line.publish('acme', [rule(['admin'])]);
    const third = await pay(1, 1);
    expect(third).toMatchObject({ kind: 'approval_required' });
    const ids = [first, second, third].map(
      (answer) => answer.kind === 'approval_required' && answer.approvalId,
    );
    expect(new Set(ids).size).toBe(3);
    const states = await line.database.asOwner<{ state: string }>(
      'SELECT state FROM approvals WHERE run_id = $1 ORDER BY created_at',
      [run.runId],
    );
    expect(states.map(({ state }) => state)).toEqual(['void', 'void', 'pending']);
    expect(line.tool.requests).toEqual([]);
  });
});
