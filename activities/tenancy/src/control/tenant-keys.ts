import type { TenantId } from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';

/** One statement: what was erased has its record. No RETURNING of the bytes, which this role cannot read anyway. */
const DESTROY = `
  WITH gone AS (
    UPDATE tenant_keys SET wrapped = '', state = 'destroyed'
     WHERE tenant_id = $1 AND state <> 'destroyed' RETURNING key_id
  ), told AS (SELECT count(*)::int AS keys FROM gone), record AS (
    INSERT INTO journal_records (tenant_id, kind, body)
    SELECT $1, 'control', jsonb_build_object('change', 'tenant_keys_destroyed', 'keys', keys, 'actor', $2::text, 'reason', $3::text)
      FROM told WHERE keys > 0
  )
  SELECT keys FROM told`;

/**
 * Crypto-shred: erases every key of the tenant, for good. From the commit on, whoever asks the database for one gets
 * KEY_DESTROYED, and with the keys go secrets, histories, inputs, results, stored requests and outcomes. A process that
 * had a key in memory uses it for up to 10 s more (cut off from the database: 2 minutes). Copies in backups and in the
 * write-ahead log live as long as those do. Asking again does nothing. Returns how many keys were erased.
 * @throws BulkheadError DATABASE_UNAVAILABLE
 */
export async function destroyTenantKeys(
  control: Pick<ControlDb, 'query'>,
  tenantId: TenantId,
  order: { readonly actor: string; readonly reason: string },
): Promise<{ readonly destroyed: number }> {
  const [row] = await control.query<{ keys: number }>(DESTROY, [tenantId, order.actor, order.reason]);
  return { destroyed: row?.keys ?? 0 };
}
