import type { ProofResult } from '../proofs/proof.js';

export interface Rounds {
  /** Largest ratio that passes. */
  readonly goal: number;
  readonly rounds: number;
  /** Each measures once and returns its time. */
  readonly subject: () => Promise<number>;
  readonly baseline: () => Promise<number>;
  readonly progress: (subject: number, baseline: number) => void;
}

/** A round counts when the baseline before and after the subject agree this far. */
const DRIFT_MAX = 0.25;
/** Attempts per round before the machine is called too busy to say anything. */
const TRIES_PER_ROUND = 3;

export interface Round<T> {
  readonly before: T;
  readonly subject: T;
  readonly after: T;
}

/** There are no figures: a number from such a machine would look like one and mean nothing. */
export class MachineTooBusy extends Error {
  override readonly name = 'MachineTooBusy';
}

/**
 * Baseline, subject, baseline, until `rounds` of them counted. A round in which the baseline moved by more than a quarter
 * is repeated, and said; never kept for want of a better one.
 * @throws MachineTooBusy after three times as many attempts as rounds.
 */
export async function alternate<T>(options: {
  readonly rounds: number;
  readonly baseline: () => Promise<T>;
  readonly subject: () => Promise<T>;
  /** What must hold still, in `unit`. */
  readonly level: (baseline: T) => number;
  readonly unit: string;
  readonly counted: (round: Round<T>, number: number) => void;
  readonly progress: (line: string) => void;
}): Promise<Round<T>[]> {
  const kept: Round<T>[] = [];
  for (let tries = 0; kept.length < options.rounds; tries += 1) {
    if (tries >= options.rounds * TRIES_PER_ROUND) {
      throw new MachineTooBusy(
        `the machine is too busy: ${kept.length} of ${tries} rounds had a baseline that held still`,
      );
    }
    const before = await options.baseline();
    const round = { before, subject: await options.subject(), after: await options.baseline() };
    const [from, to] = [options.level(before), options.level(round.after)];
    if (Math.abs(from - to) > DRIFT_MAX * Math.min(from, to)) {
      const { unit } = options;
      options.progress(
        `the baseline moved from ${from.toFixed(1)} to ${to.toFixed(1)} ${unit}: this round is repeated`,
      );
      continue;
    }
    kept.push(round);
    options.counted(round, kept.length);
  }
  return kept;
}

/**
 * Subject over baseline, measured alternately: baseline, subject, baseline. A round in which the baseline moved by more
 * than a quarter is repeated. The figure is the median of the ratios, with the smallest and the largest beside it.
 * @throws Error when the machine is too busy to get the rounds together in four times as many attempts.
 */
export async function medianOfRatios(options: Rounds): Promise<ProofResult> {
  const ratios: number[] = [];
  await options.subject(); // warm caches, plans and compiled code
  await options.baseline();
  for (let tries = 0; ratios.length < options.rounds; tries += 1) {
    if (tries >= options.rounds * 4) throw new Error('the machine is too busy: the baseline keeps moving');
    const before = await options.baseline();
    const subject = await options.subject();
    const after = await options.baseline();
    if (Math.abs(before - after) > DRIFT_MAX * Math.min(before, after)) continue;
    options.progress(subject, (before + after) / 2);
    ratios.push(subject / ((before + after) / 2));
  }
  const sorted = ratios.toSorted((a, b) => a - b);
  const figure = sorted[sorted.length >> 1] ?? Number.NaN;
  return {
    pass: figure <= options.goal,
    figure: round(figure),
    goal: `<= ${options.goal}`,
    unit: 'x',
    n: sorted.length,
    min: round(sorted[0] ?? Number.NaN),
    max: round(sorted.at(-1) ?? Number.NaN),
  };
}

const round = (value: number): number => Math.round(value * 1_000) / 1_000;
