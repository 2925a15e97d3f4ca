import type { TenantId } from '@bulkhead/contract';
import { removeContent } from '@bulkhead/journal/line';
import type { TenantDoor } from '@bulkhead/prisma/tenant';

export interface RemovalWatchDeps {
  readonly door: Pick<TenantDoor, 'tenant'>;
  /** Tenants that this host serves. */
  readonly serving: () => readonly TenantId[];
  readonly onError: (tenantId: TenantId, error: unknown) => void;
}

export interface RemovalWatch {
  /** One batch of each tenant; whether more may be due. */
  removeOnce(): Promise<boolean>;
}

/**
 * Removes what policies do not keep any longer. A host does it because it has the tenants' own door: nothing in the platform
 * may remove across tenants.
 */
export function createRemovalWatch({ door, serving, onError }: RemovalWatchDeps): RemovalWatch {
  // one tenant's trouble, a policy that cannot be read above all, must not keep the others' content
  const oneBatch = (tenantId: TenantId): Promise<{ readonly more: boolean }> =>
    removeContent(door.tenant(tenantId)).catch((error: unknown) => {
      onError(tenantId, error);
      return { more: false };
    });
  return {
    async removeOnce() {
      let due = false;
      for (const tenantId of serving()) due = (await oneBatch(tenantId)).more || due;
      return due;
    },
  };
}
