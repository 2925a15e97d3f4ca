import type { TenantClient } from '@bulkhead/prisma/tenant';
import { note } from './changes.js';
import type { By } from './changes.js';

/** Withdraws what these names have given: who may not invite any more must not come back by an invitation in a drawer. */
export async function revokeInvitationsOf(tx: TenantClient, by: By, names: readonly string[]): Promise<void> {
  const rows = await tx.invitation.updateManyAndReturn({
    where: { createdBy: { in: [...names] }, acceptedAt: null, revokedAt: null },
    data: { revokedAt: new Date() },
    select: { id: true },
  });
  for (const { id } of rows) await note(tx, by, 'invitation_revoked', { invitation: id });
}
