import { startChain, timesOf } from './chains.ts';
import type { ArmName, Times } from './chains.ts';
import { alternate } from './rounds.ts';
import { median, spread } from './stats.ts';
import type { Figure } from './stats.ts';
import type { BenchWorld } from './world.ts';

/**
 * B2: governed over bare calls per second with the machine saturated, 20 and 60 chains at once.
 *
 * Times are the server's, from the histories, as in B1. Only the stretch in which every chain of the arm was at work
 * counts, from the last first call to the first last call: how the chains get started (the governed ones pass acceptance
 * and the dispatcher) and how they run dry is not throughput.
 */
export interface B2Options {
  readonly rounds: number;
  readonly progress: (line: string) => void;
}

const CHAINS = [20, 60];
/** Calls of one arm in one round. */
const CALLS = 1_200;
/** All chains must be at work together for this share of the time that the arm took. */
const TOGETHER_MIN = 0.3;

export async function b2(world: BenchWorld, options: B2Options): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const chains of CHAINS) figures.push(await saturated(world, chains, options));
  return figures;
}

async function saturated(
  world: BenchWorld,
  chains: number,
  { rounds, progress }: B2Options,
): Promise<Figure> {
  const calls = CALLS / chains;
  progress(`${chains} chains: warming up`);
  await rate(world, 'bare', chains, Math.ceil(calls / 4));
  await rate(world, 'governed', chains, Math.ceil(calls / 4));
  const kept = await alternate({
    rounds,
    baseline: () => rate(world, 'bare', chains, Math.ceil(calls / 2)),
    subject: () => rate(world, 'governed', chains, calls),
    level: (perSecond) => perSecond,
    unit: 'calls/s',
    counted: ({ before, subject, after }, number) =>
      progress(
        `${chains} chains, round ${number} of ${rounds}: bare ${((before + after) / 2).toFixed(0)}, governed ${subject.toFixed(0)} calls/s`,
      ),
    progress,
  });
  const bare = kept.map(({ before, after }) => (before + after) / 2);
  const governed = kept.map(({ subject }) => subject);
  return {
    id: `B2 ${chains} chains`,
    goal: 0.92,
    atLeast: true,
    ...spread(governed.map((value, i) => value / (bare[i] ?? Number.NaN))),
    note: `governed ${median(governed).toFixed(0)}/s, bare ${median(bare).toFixed(0)}/s`,
  };
}

async function rate(world: BenchWorld, name: ArmName, chains: number, calls: number): Promise<number> {
  const ids = await Promise.all(Array.from({ length: chains }, () => startChain(world, name, calls)));
  return perSecond(await Promise.all(ids.map((id) => timesOf(world, name, id))));
}

/** @throws Error when the chains hardly ran together: then the stretch says nothing about a saturated machine. */
function perSecond(chains: readonly Times[]): number {
  const begins = chains.map(({ scheduled }) => scheduled[0] ?? Number.NaN);
  const ends = chains.map(({ completed }) => completed.at(-1) ?? Number.NaN);
  const [from, to] = [Math.max(...begins), Math.min(...ends)];
  const whole = Math.max(...ends) - Math.min(...begins);
  // written so that a missing time (NaN) is refused as well
  if (!(to - from >= TOGETHER_MIN * whole)) {
    throw new Error(`the chains ran together for ${(to - from).toFixed(0)} of ${whole.toFixed(0)} ms only`);
  }
  const done = chains.flatMap(({ completed }) => completed).filter((at) => at > from && at <= to).length;
  return (done / (to - from)) * 1_000;
}
