import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Envelope } from '@bulkhead/contract';
import { setOwnQuota, usage } from '@bulkhead/quota/admin';
import { ALLOW_ALL, openLine } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';
import { grant } from '../support/quotas.js';
import { seededRandom } from '../support/random.js';

/** A limit that somebody changes while calls are made: what each of them meets. */
let line: LineUnderTest;
let host: Host;
let run: Envelope;

beforeAll(async () => {
  line = await openLine();
  await line.publish('acme', [ALLOW_ALL]);
  host = await line.newHost();
});
afterAll(() => line?.close());
beforeEach(async () => {
  run = await line.newRun('acme');
  await grant(line.db('acme'), 'tool_calls_per_day', 1_000_000);
});

let asked = 0;
const call = () => host.call(run, 'open.send', { id: 'T-1' }, { n: (asked += 1) });
const calls = async () => (await usage(line.db('acme'), new Date()))[0]!;
const own = (limit: number | undefined) =>
  setOwnQuota(line.db('acme'), { layer: 'tool_calls_per_day', limit, reason: 'test', actor: 'key:admin' });

describe('a limit that is lowered', () => {
  it("below what is used denies the next call as the tenant's own, and says until when; raised, it lets calls through", async () => {
    for (const _ of [1, 2, 3]) expect(await call()).toMatchObject({ kind: 'ok' });
    const { used, resetsAt } = await calls();
    await own(used - 2);
    expect(await call()).toMatchObject({
      kind: 'budget_exceeded',
      reason: {
        layer: 'tool_calls_per_day',
        limit: used - 2,
        used,
        resetsAt: resetsAt.toISOString().replace('.000Z', 'Z'),
      },
    });
    expect(await calls()).toMatchObject({ used, limit: used - 2 });
    await own(undefined);
    expect(await call()).toMatchObject({ kind: 'ok' });
  });
});

it('changed 40 times under calls: no call is admitted beyond the limit that was in force', async () => {
  const random = seededRandom();
  const seen = { ok: 0, budget_exceeded: 0 };
  for (let round = 0; round < 40; round += 1) {
    const { used } = await calls();
    const limit = Math.max(0, used - 2 + random.below(8));
    const early = Array.from({ length: random.below(5) }, call);
    const changing = random.below(2) === 0 ? own(limit) : grant(line.db('acme'), 'tool_calls_per_day', limit);
    const during = Array.from({ length: random.below(5) }, call);
    // `used` of the answer is read under the lock that every admit takes: nothing is in flight, and what follows meets the new limit
    const inForce = await changing;
    const late = Array.from({ length: random.below(5) }, call);
    const answers = await Promise.all([...early, ...during, ...late]);
    for (const { kind } of answers) {
      if (kind !== 'ok' && kind !== 'budget_exceeded') throw new Error(`seed ${random.seed}: ${kind}`);
      seen[kind] += 1;
    }
    const after = await calls();
    expect(after.used, `seed ${random.seed}, round ${round}`).toBeLessThanOrEqual(
      Math.max(inForce.used, inForce.limit ?? Infinity),
    );
    expect(after.used - used).toBe(answers.filter(({ kind }) => kind === 'ok').length);
    await own(undefined);
    await grant(line.db('acme'), 'tool_calls_per_day', 1_000_000);
  }
  expect(Math.min(seen.ok, seen.budget_exceeded)).toBeGreaterThan(10);
});
