export declare const PROOF_IDS: readonly string[];
