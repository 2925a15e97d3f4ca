import { startChain, timesOf } from './chains.ts';
import type { ArmName } from './chains.ts';
import { alternate } from './rounds.ts';
import { median, percentile, spread } from './stats.ts';
import type { Figure } from './stats.ts';
import type { BenchWorld } from './world.ts';

/**
 * B1: a governed call against a bare activity that makes the same HTTP request, one chain, alternating in one run.
 *
 * Both times come from the same clock, the server's: a chain makes one call after the other, so the distance between two
 * "activity scheduled" events of its history is one whole call, with everything between the author's two lines: the
 * server's dispatch, the activity, the workflow task. The first call is the distance from the start of the workflow to
 * the completion of its first activity; in the governed arm it includes the broker's local activity.
 */
export interface B1Options {
  readonly rounds: number;
  /** Calls of one chain. */
  readonly calls: number;
  /** Chains of one call, for the first call. */
  readonly firsts: number;
  readonly progress: (line: string) => void;
}

/** What one chain took, and the chains of one call after it; milliseconds. */
interface Sample {
  readonly gaps: readonly number[];
  readonly firsts: readonly number[];
}

export async function b1(world: BenchWorld, options: B1Options): Promise<Figure[]> {
  const { progress, rounds, calls, firsts } = options;
  progress('warming up');
  await sample(world, 'bare', 30, 2);
  await sample(world, 'governed', 30, 2);
  // two halves of the baseline around the subject: both arms have as many calls, and a machine that grows slower or
  // faster during the round does so for both
  const half = (count: number): number => Math.ceil(count / 2);
  const kept = await alternate({
    rounds,
    baseline: () => sample(world, 'bare', half(calls), half(firsts)),
    subject: () => sample(world, 'governed', calls, firsts),
    level: ({ gaps }) => median(gaps),
    unit: 'ms',
    counted: ({ before, subject, after }, number) =>
      progress(
        `round ${number} of ${rounds}: bare ${describe(join(before, after))}, governed ${describe(subject)}`,
      ),
    progress,
  });
  const figure = (part: string, goal: number, of: (sample: Sample) => number): Figure => {
    const pairs = kept.map(({ before, subject, after }) => ({
      bare: of(join(before, after)),
      governed: of(subject),
    }));
    const ms = (arm: 'bare' | 'governed'): string =>
      `${median(pairs.map((pair) => pair[arm])).toFixed(1)} ms`;
    const ratios = pairs.map(({ bare, governed }) => governed / bare);
    return {
      id: `B1 ${part}`,
      goal,
      ...spread(ratios),
      note: `governed ${ms('governed')}, bare ${ms('bare')}`,
    };
  };
  return [figure('p50', 1.08, p50), figure('p99', 1.25, p99), figure('first call', 1.3, first)];
}

const p50 = ({ gaps }: Sample): number => percentile(gaps, 0.5);
const p99 = ({ gaps }: Sample): number => percentile(gaps, 0.99);
const first = ({ firsts }: Sample): number => median(firsts);
const join = (a: Sample, b: Sample): Sample => ({
  gaps: [...a.gaps, ...b.gaps],
  firsts: [...a.firsts, ...b.firsts],
});
const describe = (all: Sample): string =>
  `p50 ${p50(all).toFixed(1)} p99 ${p99(all).toFixed(1)} first ${first(all).toFixed(1)} ms`;

async function sample(world: BenchWorld, name: ArmName, calls: number, count: number): Promise<Sample> {
  const chain = await timesOf(world, name, await startChain(world, name, calls));
  const gaps = chain.scheduled.slice(1).map((at, i) => at - (chain.scheduled[i] ?? at));
  const firsts: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const { started, completed } = await timesOf(world, name, await startChain(world, name, 1));
    firsts.push((completed[0] ?? Number.NaN) - started);
  }
  return { gaps, firsts };
}
