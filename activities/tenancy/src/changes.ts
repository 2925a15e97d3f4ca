import { BulkheadError } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import type { TenantClient } from '@bulkhead/prisma/tenant';

/** Who makes a change: the name for the journal, and who answers for it. */
export interface By {
  readonly actor: string;
  readonly responsible: string;
  /** What the person behind it had when they were let in. */
  readonly standing?: Standing;
}

export interface Standing {
  readonly role: string;
  readonly workspaceId: string | null;
}

/** Commands on the machine itself, and the platform's own set-up. */
export const PLATFORM: By = { actor: 'platform', responsible: 'platform' };

/** The person who answers for it; undefined for keys of no person. */
export const personBehind = ({ responsible }: By): string | undefined =>
  responsible.startsWith('user:') ? responsible.slice('user:'.length) : undefined;

/**
 * Whoever was let in may have been put out while their request waited for its turn. What gives rights to somebody looks
 * again, under a lock that a removal, a lowered role and a revoked key wait for: so either they come first and nothing is
 * given, or they find what was given and end it.
 * @throws BulkheadError UNAUTHENTICATED
 */
export async function mustStand(tx: TenantClient, by: By): Promise<void> {
  const person = personBehind(by);
  if (person !== undefined) {
    const [now] = await tx.$queryRaw<Standing[]>`SELECT role, workspace_id AS "workspaceId" FROM members
      WHERE tenant_id = app_tenant() AND id = ${person} AND removed_at IS NULL FOR SHARE`;
    const isSame = now && now.role === by.standing?.role && now.workspaceId === by.standing.workspaceId;
    if (!isSame) throw new BulkheadError('UNAUTHENTICATED');
  }
  if (!by.actor.startsWith('key:')) return;
  const found = await tx.$queryRaw<object[]>`SELECT prefix FROM api_keys
    WHERE tenant_id = app_tenant() AND prefix = ${by.actor.slice('key:'.length)} AND revoked_at IS NULL
      AND (expires_at IS NULL OR expires_at > now()) FOR SHARE`;
  if (found.length === 0) throw new BulkheadError('UNAUTHENTICATED');
}

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
