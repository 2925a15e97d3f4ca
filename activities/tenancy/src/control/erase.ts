import type { TenantId } from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';

type Db = Pick<ControlDb, 'query'>;

/** Every table from which the control door may delete a tenant that is being erased. */
const ERASABLE = `
  SELECT tablename AS table FROM pg_policies
   WHERE schemaname = 'public' AND policyname = 'erase' AND cmd = 'DELETE' ORDER BY 1`;

/**
 * Deletes the tenant's rows everywhere; the database lets it do so only for a tenant in status `erasing`. What stays: the
 * tenant's id and name, what was done to it, and that its keys are destroyed.
 */
export async function eraseRows(db: Db, tenantId: TenantId): Promise<void> {
  const tables = await db.query<{ table: string }>(ERASABLE);
  if (tables.length === 0) throw new Error('no table can be erased: is the schema complete?');
  for (const { table } of tables) {
    // the name comes from the catalog, never from input
    await db.query(`DELETE FROM "${table}" WHERE tenant_id = $1`, [tenantId]);
  }
}

/** No journal record says so: the journal is gone with the rest, and the lifecycle's own row is what remains. */
export async function leaveTombstone(db: Db, tenantId: TenantId): Promise<void> {
  await db.query(
    "UPDATE tenants SET status = 'offboarded' WHERE id = $1 AND status IN ('erasing', 'offboarded')",
    [tenantId],
  );
}
