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
