import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Envelope } from '@bulkhead/contract';
import { removeContent } from '@bulkhead/journal/line';
import { DAY_S, openKept } from '../support/kept.js';
import type { KeptWorld } from '../support/kept.js';
import type { LineUnderTest } from '../support/line.js';
import { seededRandom } from '../support/random.js';

let world: KeptWorld;
let line: LineUnderTest;

beforeAll(async () => {
  world = await openKept();
  ({ line } = world);
});
afterAll(() => line.close());
beforeEach(() => world.begin());

describe('verify', () => {
  it('finds content that went without a record, and content that stayed in spite of one', async () => {
    await world.publish({ argumentsDays: 1 });
    const [run, cleared] = [await world.runWithCall(0), await world.runWithCall(2 * DAY_S)];
    await world.removeAll();
    expect((await world.verified()).problems).toEqual([]);
    const keyOf = async ({ runId }: Envelope): Promise<string> =>
      (await line.database.asOwner<{ key: string }>('SELECT key FROM effects WHERE run_id = $1', [runId]))[0]!
        .key;
    const saved = await line.database.asOwner<{ request: Buffer; result: Buffer }>(
      'SELECT request, result FROM effects WHERE run_id = $1',
      [run.runId],
    );
    const { request, result } = saved[0]!;
    const key = await keyOf(run);
    await line.database.asOwner('UPDATE effects SET request = NULL WHERE key = $1', [key]);
    expect((await world.verified()).problems).toEqual([`effect ${key} has lost its arguments`]);
    await line.database.asOwner('UPDATE effects SET request = $2, result = NULL WHERE key = $1', [
      key,
      request,
    ]);
    expect((await world.verified()).problems).toEqual([`effect ${key} has lost its answer`]);
    await line.database.asOwner('UPDATE effects SET result = $2 WHERE key = $1', [key, result]);
    await line.database.asOwner('UPDATE effects SET request = $2 WHERE run_id = $1', [
      cleared.runId,
      request,
    ]);
    expect((await world.verified()).problems).toEqual([
      `effect ${await keyOf(cleared)} has its arguments, which the chain says were removed`,
    ]);
    await line.database.asOwner('UPDATE effects SET request = NULL WHERE run_id = $1', [cleared.runId]);
    expect((await world.verified()).problems).toEqual([]);
  });
});

describe('whatever the runs are and the policy says', () => {
  interface Case {
    readonly run: Envelope;
    readonly age: number | undefined;
    readonly asked: boolean;
    readonly open: boolean;
  }
  it('what is gone is exactly what is over and older than its days', async () => {
    const random = seededRandom();
    const days = () => random.pick([() => undefined, () => 0, () => 1, () => 5])();
    await world.publish({});
    await line.database.asOwner("UPDATE runs SET finished_at = NULL WHERE tenant_id = 'acme'");
    const cases: Case[] = [];
    for (let n = 0; n < 30; n += 1) {
      // the first has hardly ended, however slow the machine is
      const ages = [-600, DAY_S / 2, 2 * DAY_S, 6 * DAY_S];
      const age = random.below(5) === 0 ? undefined : random.pick(ages);
      const run = await world.runWithCall(age, { id: `r${n}` });
      const [asked, open] = [random.below(5) === 0, random.below(5) === 0];
      if (asked)
        await line.database.asOwner(
          "INSERT INTO run_requests (tenant_id, run_id, kind, reason, actor) VALUES ('acme', $1, 'reset', 'r', 'a')",
          [run.runId],
        );
      if (open)
        await line.database.asOwner("UPDATE effects SET state = 'open' WHERE run_id = $1", [run.runId]);
      cases.push({ run, age, asked, open });
    }
    const gone = { argumentsDays: new Set<Case>(), answersDays: new Set<Case>() };
    for (let round = 0; round < 6; round += 1) {
      const retention = { argumentsDays: days(), answersDays: days() };
      await world.publish(JSON.parse(JSON.stringify(retention)) as object);
      while (
        (await removeContent(line.db('acme'), { calls: 1 + random.below(9), runs: 1 + random.below(9) })).more
      );
      for (const each of cases) {
        const { run, age, asked, open } = each;
        for (const kind of ['argumentsDays', 'answersDays'] as const) {
          const kept = retention[kind];
          if (kept !== undefined && age !== undefined && !asked && !open && age > Math.max(kept * DAY_S, 60))
            gone[kind].add(each);
        }
        const wanted = `${gone.argumentsDays.has(each) ? '-' : 'arguments'} ${gone.answersDays.has(each) ? '-' : 'answer'}`;
        expect(await world.contentOf(run), `seed ${random.seed}, round ${round}, ${run.runId}`).toBe(wanted);
      }
    }
    await line.database.asOwner("UPDATE effects SET state = 'closed' WHERE state = 'open'");
  });
});
