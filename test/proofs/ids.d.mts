export declare const BENCH_IDS: readonly string[];
export declare const PROOF_IDS: readonly string[];
