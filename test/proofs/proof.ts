/** `tiny` is for the test suite (a second or two), `ci` at most 30 s, `full` at most 10 minutes. */
export type ProofSize = 'tiny' | 'ci' | 'full';

export interface ProofOptions {
  readonly size: ProofSize;
  /** Says where the proof is; shown while it runs. */
  readonly progress: (line: string) => void;
}

export interface ProofResult {
  readonly pass: boolean;
  /** What was measured, for example the number of foreign rows seen. */
  readonly figure: number;
  readonly goal: string;
  readonly unit: string;
  /** How many attempts, injections or pairs stand behind the figure. */
  readonly n: number;
  readonly min?: number;
  readonly max?: number;
  /** What went wrong, a few examples; printed below the line. */
  readonly faults?: readonly string[];
}

/** One file per id, named after it (`iso-3.ts`), exports this as `run`. */
export type Proof = (options: ProofOptions) => Promise<ProofResult>;

/** A proof whose goal is that nothing of a kind happens: the figure is the number of faults. */
export function zeroOf(unit: string, n: number, faults: readonly string[]): ProofResult {
  return {
    pass: faults.length === 0 && n > 0,
    figure: faults.length,
    goal: '0',
    unit,
    n,
    faults: faults.slice(0, 10),
  };
}

/** Seconds that a time-boxed proof may use, start and end of its servers included. */
export const secondsOf = (size: ProofSize): number => ({ tiny: 1, ci: 20, full: 500 })[size];
