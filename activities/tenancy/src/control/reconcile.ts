import type { TenantId } from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';
import type { LifecyclePorts } from './lifecycle-steps.js';

export interface ReconcileDeps extends Pick<LifecyclePorts, 'registerNamespace'> {
  readonly control: Pick<ControlDb, 'query'>;
  readonly log: { warn(fields: object, message: string): void };
}

/**
 * Meets the outside again for tenants that are active: after a start, the server may be another one. One tenant's
 * trouble is logged and does not hold up the others.
 */
export async function reconcileTenants({
  control,
  log,
  registerNamespace,
}: ReconcileDeps): Promise<{ readonly failed: number }> {
  const rows = await control.query<{ id: TenantId }>(
    "SELECT id FROM tenants WHERE status = 'active' ORDER BY id",
  );
  let failed = 0;
  for (const { id: tenantId } of rows) {
    try {
      await registerNamespace(tenantId);
    } catch (error) {
      failed += 1;
      const fault = error instanceof Error ? error.message : 'unknown';
      log.warn({ tenantId, fault }, 'a tenant is not ready, trying again');
    }
  }
  return { failed };
}
