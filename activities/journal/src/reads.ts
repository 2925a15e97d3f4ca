import { z } from 'zod';
import type { RunId } from '@bulkhead/contract';
import type { TenantDb } from '@bulkhead/prisma/tenant';

/** Something of a run that somebody is about to be told. */
export interface ContentRead {
  readonly runId: RunId;
  /** `arguments`: what an approval shows. */
  readonly what: 'input' | 'result' | 'arguments';
  readonly approvalId?: string;
}

const Answer = z.strictObject({ noted: z.int() });

/**
 * Records what somebody is about to be told, for runs whose policy says so; of the others nothing. Tell it after this only.
 * @param actor `key:<prefix>` or `user:<id>`
 * @throws BulkheadError DATABASE_UNAVAILABLE; then nothing may be told
 */
export async function noteReads(db: TenantDb, actor: string, reads: readonly ContentRead[]): Promise<void> {
  Answer.parse(await db.call('note_reads', { actor, reads: reads.map((read) => ({ ...read })) }));
}
