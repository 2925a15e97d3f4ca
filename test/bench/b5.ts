import pg from 'pg';
import type { Proof, ProofSize } from '../proofs/proof.js';
import { openGatewayStage } from './gateway-stage.ts';
import { medianOfRatios } from './rounds.js';

const ROUNDS: Record<ProofSize, number> = { tiny: 1, ci: 11, full: 31 };
const CALLS: Record<ProofSize, number> = { tiny: 20, ci: 200, full: 500 };
const ROWS = 1_000;

/**
 * What a governed call waits for the database (admit, settle and its share of what a host reads anew each second) over
 * two single-row UPDATEs, each committed by itself, by the bare driver as prepared statements. One caller, PostgreSQL
 * durable, the sealer running in both arms.
 */
export const run: Proof = async ({ size, progress }) => {
  const stage = await openGatewayStage(progress);
  const bare = new pg.Pool({ connectionString: stage.ownerUrl, max: 4 });
  try {
    await bare.query('CREATE TABLE bare (id int PRIMARY KEY, value int NOT NULL)');
    await bare.query('INSERT INTO bare SELECT i, 0 FROM generate_series(1, $1::int) i', [ROWS]);
    let n = 0;
    const governed = async (): Promise<number> => {
      stage.databaseMs();
      for (let call = 0; call < CALLS[size]; call += 1) await stage.call((n += 1));
      return stage.databaseMs() / CALLS[size];
    };
    const update = (id: number): Promise<unknown> =>
      bare.query({ name: 'b5', text: 'UPDATE bare SET value = value + 1 WHERE id = $1', values: [id] });
    const updates = async (): Promise<number> => {
      const from = performance.now();
      for (let call = 1; call <= CALLS[size]; call += 1) {
        await update(call);
        await update(ROWS - call);
      }
      return (performance.now() - from) / CALLS[size];
    };
    return await medianOfRatios({
      goal: 1.15,
      rounds: ROUNDS[size],
      subject: governed,
      baseline: updates,
      progress: (subject, baseline) =>
        progress(`governed ${subject.toFixed(2)} ms, two updates ${baseline.toFixed(2)} ms`),
    });
  } finally {
    await bare.end();
    await stage.close();
  }
};
