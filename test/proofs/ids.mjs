/** Every proof of the project: eight families, numbered from 1. One that has no file here yet prints `missing`. */
const FAMILIES = { ISO: 16, SEC: 7, FC: 8, CR: 8, Q: 5, KS: 8, IN: 10, OP: 11 };

/** The figures of test/bench, run by the same runner. */
export const BENCH_IDS = [1, 2, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, '-POLICY'].map((name) => `B${name}`);

export const PROOF_IDS = Object.entries(FAMILIES).flatMap(([family, count]) =>
  Array.from({ length: count }, (_, index) => `${family}-${index + 1}`),
);
