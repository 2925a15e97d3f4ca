import pg from 'pg';
import { tenantId } from '@bulkhead/contract';
import { openTenantDoor } from '@bulkhead/prisma/tenant';
import { freshDatabase } from '../support/database.js';
import type { Proof, ProofSize } from '../proofs/proof.js';
import { medianOfRatios } from './rounds.js';

const ROUNDS: Record<ProofSize, number> = { tiny: 1, ci: 9, full: 21 };
const READS: Record<ProofSize, number> = { tiny: 100, ci: 3_000, full: 10_000 };
const TENANTS = 50;
const RUNS = 200;

/**
 * Latency of a tenant-scoped read through the data layer over that of the same read by the bare driver without row
 * level security (the table's owner, prepared statement, same pool size). Both arms read the same rows by primary key,
 * one caller, alternately in one run; the figure is the median of the rounds' ratios of medians.
 */
export const run: Proof = async ({ size, progress }) => {
  const database = await freshDatabase();
  const door = openTenantDoor({
    url: database.appUrl,
    poolMax: 4,
    onError: (error) => progress(error.message),
  });
  const bare = new pg.Pool({ connectionString: database.ownerUrl, max: 4 });
  const text = 'SELECT id, state, reason, created_at FROM runs WHERE tenant_id = $1 AND id = $2';
  try {
    await database.asOwner(
      `INSERT INTO runs (tenant_id, id, workspace_id, agent_id, workflow_type, idempotency_key, input_digest, input, envelope, actor)
       SELECT 'tenant-' || t, 'run-' || r, 'main', 'a', 'w', 'k' || r, '\\x00', '{}', 'e', 'key:x'
         FROM generate_series(1, $1::int) t, generate_series(1, $2::int) r`,
      [TENANTS, RUNS],
    );
    await database.asOwner('VACUUM ANALYZE runs');
    const place = (index: number): [string, string] => [
      `tenant-${1 + (index % TENANTS)}`,
      `run-${1 + (index % RUNS)}`,
    ];
    const scoped = async (index: number): Promise<number> => {
      const [tenant, id] = place(index);
      const rows = await door.tenant(tenantId(tenant)).read({ name: 'b8', text }, [tenant, id]);
      return rows.length;
    };
    const plain = async (index: number): Promise<number> =>
      (await bare.query({ name: 'b8', text, values: place(index) })).rows.length;
    const times = (read: (index: number) => Promise<number>) => async (): Promise<number> => {
      const taken: number[] = [];
      for (let index = 0; index < READS[size]; index += 1) {
        const started = performance.now();
        if ((await read(index)) !== 1) throw new Error('a read found nothing');
        taken.push(performance.now() - started);
      }
      return taken.toSorted((a, b) => a - b)[taken.length >> 1] ?? 0;
    };
    return await medianOfRatios({
      goal: 1.3,
      rounds: ROUNDS[size],
      subject: times(scoped),
      baseline: times(plain),
      progress: (subject, baseline) =>
        progress(
          `scoped ${(subject * 1_000).toFixed(0)} us, bare ${(baseline * 1_000).toFixed(0)} us (median)`,
        ),
    });
  } finally {
    await door.close();
    await bare.end();
    await database.drop();
  }
};
