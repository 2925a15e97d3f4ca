import { BulkheadError } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import type { TenantClient } from '@bulkhead/prisma/tenant';

/** Who makes a change: the name for the journal, and who answers for it. */
export interface By {
  readonly actor: string;
  readonly responsible: string;
}

/** Commands on the machine itself, and the platform's own set-up. */
export const PLATFORM: By = { actor: 'platform', responsible: 'platform' };

/** A record of the journal in the same transaction as the change, so neither is there without the other. */
export async function note(
  tx: TenantClient,
  by: By,
  change: string,
  body: { readonly [key: string]: Json | undefined },
): Promise<void> {
  const record = JSON.stringify({ change, by: by.actor, ...body });
  await tx.$executeRaw`SELECT journal('control', NULL, NULL, ${record}::jsonb)`;
}

/** @throws BulkheadError NOT_FOUND when the tenant has no such workspace. */
export async function mustHaveWorkspace(
  tx: TenantClient,
  tenantId: string,
  id: string | null | undefined,
): Promise<void> {
  if (id === null || id === undefined) return;
  const found = await tx.workspace.findUnique({ where: { tenantId_id: { tenantId, id } } });
  if (!found) {
    throw new BulkheadError('NOT_FOUND', {
      field: 'input.workspaceId',
      publicMessage: 'There is no such workspace.',
    });
  }
}
