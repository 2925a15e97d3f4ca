import { z } from 'zod';
import type { TenantDb } from '@bulkhead/prisma/tenant';

/** Calls and runs of one batch: it is over in some milliseconds, and nobody waits for it. */
const CALLS_MAX = 200;
const RUNS_MAX = 50;

const Answer = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('removed'), records: z.int(), more: z.boolean() }),
  /** Another host is at it. */
  z.strictObject({ kind: z.literal('busy') }),
  /** The tenant is not active. */
  z.strictObject({ kind: z.literal('held') }),
]);

/**
 * Removes one batch of what the tenant's policies do not keep any longer, with a record of what it was, in one commit. Only of
 * runs that are over; a run that may still be asked for is left alone.
 * @returns whether more may be due
 * @throws BulkheadError DATABASE_UNAVAILABLE, and what cannot be read of a policy: then nothing is removed
 */
export async function removeContent(
  db: TenantDb,
  batch: { readonly calls: number; readonly runs: number } = { calls: CALLS_MAX, runs: RUNS_MAX },
): Promise<{ readonly more: boolean }> {
  const answer = Answer.parse(await db.call('remove_content', { ...batch }));
  return { more: answer.kind === 'removed' && answer.more };
}
