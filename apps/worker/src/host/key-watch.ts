import type { Logger } from 'pino';
import { BulkheadError } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import type { KeyRing } from '@bulkhead/runtime/keys';

export interface KeyWatchDeps {
  readonly door: Pick<TenantDoor, 'tenant'>;
  readonly keyRing: Pick<KeyRing, 'check'>;
  readonly hostId: string;
  readonly log: Pick<Logger, 'error' | 'info'>;
}

/** Whether this host can use its tenants' keys. Without a tenant's key it takes no work of that tenant, and says so. */
export interface KeyWatch {
  /**
   * Returns when the key can be used; ask before each start of the tenant's Worker. What changed is told to the tenant.
   * @throws BulkheadError KEY_UNAVAILABLE, KEY_DESTROYED, DATABASE_UNAVAILABLE
   */
  ready(tenantId: TenantId): Promise<void>;
}

export function createKeyWatch({ door, keyRing, hostId, log }: KeyWatchDeps): KeyWatch {
  const away = new Set<TenantId>();
  const tell = (tenantId: TenantId, lost: boolean): Promise<unknown> =>
    door.tenant(tenantId).call('key_outage', { host: hostId, lost });
  return {
    async ready(tenantId) {
      try {
        await keyRing.check(tenantId);
      } catch (error) {
        if (!(error instanceof BulkheadError) || error.code !== 'KEY_UNAVAILABLE') throw error;
        if (!away.has(tenantId)) {
          log.error(
            { tenantId, code: error.code, error },
            "the tenant's key cannot be used: nothing is taken",
          );
          await tell(tenantId, true);
          away.add(tenantId);
        }
        throw error;
      }
      if (!away.has(tenantId)) return;
      await tell(tenantId, false);
      away.delete(tenantId);
      log.info({ tenantId }, "the tenant's key is back");
    },
  };
}
