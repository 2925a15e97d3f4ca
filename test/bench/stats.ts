/** One line of the benchmark: the median of its rounds against a goal (smaller is better unless `atLeast`). */
export interface Figure {
  readonly id: string;
  readonly figure: number;
  readonly goal: number;
  readonly atLeast?: boolean;
  readonly n: number;
  readonly min: number;
  readonly max: number;
  /** The absolute values behind a ratio. */
  readonly note: string;
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

export const median = (values: readonly number[]): number => percentile(values, 0.5);

export function spread(values: readonly number[]): { figure: number; n: number; min: number; max: number } {
  return { figure: median(values), n: values.length, min: Math.min(...values), max: Math.max(...values) };
}

export const passes = ({ figure, goal, atLeast }: Figure): boolean =>
  atLeast ? figure >= goal : figure <= goal;

/** `ID  pass|fail  figure  goal  rounds (min..max)` */
export function lineOf(figure: Figure): string {
  const { id, figure: value, goal, n, min, max, note } = figure;
  const verdict = passes(figure) ? 'pass' : 'fail';
  const limit = `${figure.atLeast ? '>=' : '<='} ${goal}`;
  return `${id.padEnd(14)} ${verdict}  ${value.toFixed(3)}  ${limit}  ${n} rounds (${min.toFixed(3)}..${max.toFixed(3)})  ${note}`;
}
