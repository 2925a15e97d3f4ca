import { randomInt } from 'node:crypto';

/** Numbers that a printed seed gives again. */
export interface Random {
  readonly seed: number;
  /** A whole number from 0 to below `bound`. */
  below(bound: number): number;
  pick<T>(choices: readonly T[]): T;
}

/** mulberry32: small, even enough for choosing attacks, and the same everywhere. */
export function seededRandom(seed: number = randomInt(2 ** 32)): Random {
  let state = seed;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (bound: number): number => Math.floor(next() * bound);
  return {
    seed,
    below,
    pick(choices) {
      const chosen = choices[below(choices.length)];
      if (chosen === undefined) throw new Error('nothing to choose from');
      return chosen;
    },
  };
}
