import type { Json, TenantId } from '@bulkhead/contract';
import type { Prisma, TenantClient } from '@bulkhead/prisma/tenant';

/** Writes down what was changed about a secret, in the transaction that changes it. */
export async function record(
  tx: TenantClient,
  tenantId: TenantId,
  body: { [key: string]: Json },
): Promise<void> {
  await tx.journalRecord.create({
    data: { tenantId, kind: 'control', body: body as Prisma.InputJsonObject },
  });
}
