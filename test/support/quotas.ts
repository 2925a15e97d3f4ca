import type { TenantDb } from '@bulkhead/prisma/tenant';
import { grantQuota } from '@bulkhead/quota/admin';
import type { QuotaLayer, QuotaUsage } from '@bulkhead/quota/admin';

/** What an operator of the platform would do before a test that needs more room, or less. */
export const grant = (db: TenantDb, layer: QuotaLayer, limit: number | undefined): Promise<QuotaUsage> =>
  grantQuota(db, { layer, limit, reason: 'A test needs it.', actor: 'operator:test' });
