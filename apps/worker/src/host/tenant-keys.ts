import type { TenantId } from '@bulkhead/contract';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import type { WrappedTenantKey } from '@bulkhead/runtime/keys';

/** Reads a tenant's wrapped key: the one with that id, or the active one. */
export function tenantKeys(
  door: Pick<TenantDoor, 'tenant'>,
): (tenantId: TenantId, keyId?: string) => Promise<WrappedTenantKey | undefined> {
  return async (tenantId, keyId) => {
    const where = keyId === undefined ? { state: 'active' } : { keyId };
    const row = await door
      .tenant(tenantId)
      .run((tx) => tx.tenantKey.findFirst({ where, orderBy: { createdAt: 'desc' } }));
    return row ?? undefined;
  };
}
