import type { TenantId } from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';

export { createOperator, createOperatorKey, listOperators, revokeOperator } from './control/operators.js';
export type { Operator } from './control/operators.js';
export { destroyTenantKeys } from './control/tenant-keys.js';
export { createTokenKeys, orderTokenKeys, revokeTokenKeys, tokenKeysInUse } from './control/token-keys.js';
export type { KeyOwner, LiveKey, TokenKeyPorts } from './control/token-keys.js';

/** What provisioning needs from the outside; apps/worker binds it to Temporal and to the token folder. */
export interface LifecyclePorts {
  /** Registers the tenant's namespace and search attributes; done before is a success. */
  ensureNamespace(tenantId: TenantId): Promise<void>;
  /** Resolves when the tenant has a key that the server accepts, and every live host a token. */
  issueTokens(tenantId: TenantId): Promise<void>;
}

export interface LifecycleDeps extends LifecyclePorts {
  readonly control: Pick<ControlDb, 'query'>;
  readonly log: {
    info(fields: object, message: string): void;
    warn(fields: object, message: string): void;
  };
}

export interface Lifecycle {
  /** Makes new tenants able to run. One tenant's trouble is logged and tried again; the others are not held up. */
  provisionOnce(): Promise<{ activated: number; failed: number }>;
  /** Meets the outside again for tenants that are active already: after a start, the server may be another one. */
  reconcileOnce(): Promise<{ done: number; failed: number }>;
}

const ACTIVATE = `
  WITH moved AS (
    UPDATE tenants SET status = 'active' WHERE id = $1 AND status = 'provisioning' RETURNING id
  ), record AS (
    INSERT INTO journal_records (tenant_id, kind, body)
    SELECT id, 'control', jsonb_build_object('change', 'tenant_activated') FROM moved
  )
  SELECT pg_notify('bulkhead_tenants', id) FROM moved`;

/** A tenant's way from its row to a served namespace. */
export function createLifecycle({ control, log, ensureNamespace, issueTokens }: LifecycleDeps): Lifecycle {
  const tenants = async (status: 'provisioning' | 'active'): Promise<TenantId[]> => {
    const rows = await control.query<{ id: TenantId }>(
      'SELECT id FROM tenants WHERE status = $1 ORDER BY id',
      [status],
    );
    return rows.map((row) => row.id);
  };

  const forEach = async (
    ids: readonly TenantId[],
    work: (tenantId: TenantId) => Promise<void>,
  ): Promise<{ done: number; failed: number }> => {
    let done = 0;
    for (const tenantId of ids) {
      try {
        await work(tenantId);
        done += 1;
      } catch (error) {
        const fault = error instanceof Error ? error.message : 'unknown';
        log.warn({ tenantId, fault }, 'a tenant is not ready, trying again');
      }
    }
    return { done, failed: ids.length - done };
  };

  const prepare = async (tenantId: TenantId): Promise<void> => {
    await ensureNamespace(tenantId);
    await issueTokens(tenantId);
  };

  return {
    async provisionOnce() {
      const { done, failed } = await forEach(await tenants('provisioning'), async (tenantId) => {
        await prepare(tenantId);
        await control.query(ACTIVATE, [tenantId]);
        log.info({ tenantId }, 'tenant is active');
      });
      return { activated: done, failed };
    },
    reconcileOnce: async () => forEach(await tenants('active'), prepare),
  };
}
