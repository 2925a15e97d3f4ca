import { endChain, historyOf, startChain, whenCalling } from './chains.ts';
import type { ArmName, Times } from './chains.ts';
import { alternate } from './rounds.ts';
import { median, spread } from './stats.ts';
import type { Figure } from './stats.ts';
import type { BenchWorld } from './world.ts';

/**
 * B2: governed over bare calls per second with the machine saturated, 20 and 60 chains at once.
 *
 * Times are the server's, from the histories, as in B1. A chain goes on until it is ended from outside, so that all of
 * them are at work together however long it took to start them (the governed ones pass acceptance and the dispatcher):
 * what counts is the stretch from the last first call to the first end.
 */
export interface B2Options {
  readonly rounds: number;
  readonly progress: (line: string) => void;
}

const CHAINS = [20, 60];
/** More than a chain can make in the time: none ends by itself. */
const ENDLESS = 10_000;
/** How long all chains of an arm are at work together. The bare arm runs twice in a round, half as long each time. */
const STRETCH_MS = 8_000;

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
  progress(`${chains} chains: warming up`);
  await rate(world, 'bare', chains, STRETCH_MS / 4);
  await rate(world, 'governed', chains, STRETCH_MS / 4);
  const kept = await alternate({
    rounds,
    baseline: () => rate(world, 'bare', chains, STRETCH_MS / 2),
    subject: () => rate(world, 'governed', chains, STRETCH_MS),
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

async function rate(world: BenchWorld, name: ArmName, chains: number, stretchMs: number): Promise<number> {
  const ids = await Promise.all(Array.from({ length: chains }, () => startChain(world, name, ENDLESS)));
  await Promise.all(ids.map((id) => whenCalling(world, name, id)));
  await new Promise((resolve) => setTimeout(resolve, stretchMs));
  await Promise.all(ids.map((id) => endChain(world, name, id)));
  return perSecond(await Promise.all(ids.map((id) => historyOf(world, name, id))), stretchMs);
}

/** @throws Error when a chain ended before it was told to: then the machine was not kept busy. */
function perSecond(chains: readonly Times[], stretchMs: number): number {
  const from = Math.max(...chains.map(({ scheduled }) => scheduled[0] ?? Number.NaN));
  const to = Math.min(...chains.map(({ ended }) => ended));
  // written so that a missing time (NaN) is refused as well
  if (!(to - from >= stretchMs)) {
    throw new Error(`the chains ran together for ${(to - from).toFixed(0)} of ${stretchMs} ms only`);
  }
  const done = chains.flatMap(({ completed }) => completed).filter((at) => at > from && at <= to).length;
  return (done / (to - from)) * 1_000;
}
