import type { TenantId } from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';

/**
 * Crypto-shred: erases every key of the tenant, for good. From the commit on, whoever asks the database for one gets
 * KEY_DESTROYED, and with the keys go secrets, histories, inputs, results, stored requests and outcomes. A process that
 * had a key in memory uses it for up to 10 s more (cut off from the database: 2 minutes). Copies in backups and in the
 * write-ahead log live as long as those do. A rotation comes before it or finds the keys gone. Asking again does nothing. Returns how many keys were erased.
 * @throws BulkheadError DATABASE_UNAVAILABLE
 */
export async function destroyTenantKeys(
  control: Pick<ControlDb, 'query'>,
  tenantId: TenantId,
  order: { readonly actor: string; readonly reason: string },
): Promise<{ readonly destroyed: number }> {
  const [row] = await control.query<{ keys: number }>('SELECT destroy_tenant_keys($1, $2, $3) AS keys', [
    tenantId,
    order.actor,
    order.reason,
  ]);
  return { destroyed: row?.keys ?? 0 };
}
