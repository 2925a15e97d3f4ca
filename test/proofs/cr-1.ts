import { setTimeout as sleep } from 'node:timers/promises';
import { openCrashWorld } from '../support/crash-world.js';
import type { CrashWorld } from '../support/crash-world.js';
import { openFaultDriver } from '../support/fault-driver.js';
import type { Random } from '../support/random.js';
import { zeroOf } from './proof.js';
import type { Proof, ProofSize } from './proof.js';

const KILLS: Record<ProofSize, number> = { tiny: 1, ci: 6, full: 200 };
/** Time for kills; then what is left is done, which takes a fence and a heartbeat at least. */
const KILLING_MS: Record<ProofSize, number> = { tiny: 10_000, ci: 15_000, full: 480_000 };
const DONE_MS = 90_000;
const RECEIVER_MS = 25;
const CALLS_PER_RUN = 4;

/** Where the host dies: around a request, in milliseconds after the receiver saw it come or had answered it. */
const POINTS = {
  'before a request': { after: 'answer', fromMs: 10, toMs: 70 },
  'during a request': { after: 'request', fromMs: 0, toMs: 20 },
  'after a request': { after: 'answer', fromMs: 0, toMs: 3 },
  'before it is reported': { after: 'answer', fromMs: 3, toMs: 12 },
} as const;
type Point = keyof typeof POINTS;

/**
 * The host is killed (SIGKILL) around its requests while runs go on, and another one takes its place. Every run ends.
 * A receiver that honours keys acted once for each call; one that knows none heard of each call once at most, and a call
 * that may or may not have acted says so.
 */
export const run: Proof = async ({ size, progress }) => {
  const crash = await openCrashWorld(RECEIVER_MS);
  const faults: string[] = [];
  let kills = 0;
  try {
    const driver = await openFaultDriver({ host: crash.world.startHost }, progress);
    try {
      for (
        const until = Date.now() + KILLING_MS[size];
        kills < KILLS[size] && Date.now() < until;
        kills += 1
      ) {
        const point = (Object.keys(POINTS) as Point[])[kills % 4]!;
        await bringWork(crash);
        await reached(crash, point, driver.random);
        await driver.replace('host');
        progress(`kill ${kills + 1}, ${point}`);
      }
      const outcomes = await crash.completed(DONE_MS);
      progress(
        Object.entries(outcomes)
          .map(([ending, count]) => `${count} ${ending}`)
          .join(', '),
      );
      faults.push(...(await crash.check()).map(({ kind, what }) => `${kind}: ${what}`));
      faults.push(...unexpected(outcomes));
    } finally {
      await driver.stop();
    }
  } finally {
    await crash.close();
  }
  return zeroOf('calls lost, doubled or silently repeated', kills, faults);
};

/** So that each kill finds calls under way of both kinds, however long the ones before have to wait. */
async function bringWork(crash: CrashWorld): Promise<void> {
  await crash.accept('keyed', CALLS_PER_RUN);
  await crash.accept('none', CALLS_PER_RUN);
}

async function reached(crash: CrashWorld, point: Point, random: Random): Promise<void> {
  const { after, fromMs, toMs } = POINTS[point];
  await crash.next(after);
  await sleep(fromMs + random.below(toMs - fromMs));
}

/** What can be repeated ends as `ok`; what cannot, also as what it is when nobody knows. */
const unexpected = (outcomes: Record<string, number>): string[] =>
  Object.keys(outcomes)
    .filter((ending) => !['keyed ok', 'none ok', 'none indeterminate'].includes(ending))
    .map((ending) => `calls ended as ${ending}`);
