import { BulkheadError } from '@bulkhead/contract';
import type { TenantClient, TenantDb } from '@bulkhead/prisma/tenant';
import { LIMIT_MAX, limitsOf, usageOf } from './usage.js';
import type { QuotaLayer, QuotaLimits, QuotaUsage } from './usage.js';

export interface QuotaChange {
  readonly layer: QuotaLayer;
  /** 0 to LIMIT_MAX; undefined takes back what was set. */
  readonly limit: number | undefined;
  /** Why, in 1 to 1,000 characters; journalled. */
  readonly reason: string;
  /** Who, as the journal names them. */
  readonly actor: string;
}

/** In these a tenant's rows are going or gone: nothing may be written for it any more. */
const ERASED: readonly string[] = ['erasing', 'offboarded'];

/**
 * What the platform's operators grant a tenant, up or down; undefined: what every tenant has. It waits for every admit in
 * flight and holds from the next one on, whatever is used already.
 * @throws BulkheadError NOT_FOUND, BAD_INPUT, INVALID_STATE for a tenant that is erased
 */
export function grantQuota(db: TenantDb, change: QuotaChange): Promise<QuotaUsage> {
  return write(db, change, 'quota_granted', () => ({ granted: change.limit ?? null }));
}

/**
 * What a tenant's admins set for themselves, at most what is granted; undefined: nothing. A grant that is lowered below it
 * later is what holds. In force like a grant.
 * @throws BulkheadError NOT_FOUND, BAD_INPUT, INVALID_STATE for a tenant that is erased
 */
export function setOwnQuota(db: TenantDb, change: QuotaChange): Promise<QuotaUsage> {
  return write(db, change, 'quota_set', ({ granted }) => {
    if (change.limit !== undefined && granted !== undefined && change.limit > granted)
      throw refused(`The platform's operators granted ${granted} a day: give at most that, or ask them.`);
    return { own: change.limit ?? null };
  });
}

/** One transaction under the tenant's exclusive lock: the limits as they are, as they become, and the record of it. */
function write(
  db: TenantDb,
  { layer, limit, reason, actor }: QuotaChange,
  change: 'quota_granted' | 'quota_set',
  columns: (before: QuotaLimits) => { granted: number | null } | { own: number | null },
): Promise<QuotaUsage> {
  if (limit !== undefined && !(Number.isSafeInteger(limit) && limit >= 0 && limit <= LIMIT_MAX))
    throw refused(`Give a whole number from 0 to ${LIMIT_MAX}.`);
  const { tenantId } = db;
  const where = { tenantId_layer: { tenantId, layer } };
  return db.change(async (tx) => {
    await mustBeThere(tx);
    const before = limitsOf(layer, await tx.quota.findUnique({ where }));
    const data = columns(before);
    await tx.quota.upsert({ where, create: { tenantId, layer, ...data }, update: data });
    const after = (await usageOf(tx, new Date())).find((quota) => quota.layer === layer);
    if (!after) throw new BulkheadError('INTERNAL', { internal: `no quota of the layer ${layer}` });
    const record = JSON.stringify({ change, by: actor, layer, before, after: only(after), reason });
    await tx.$executeRaw`SELECT journal('control', NULL, NULL, ${record}::jsonb)`;
    return after;
  });
}

const only = ({ granted, own, limit }: QuotaLimits): QuotaLimits => ({ granted, own, limit });

async function mustBeThere(tx: TenantClient): Promise<void> {
  const tenant = await tx.tenant.findFirst({ select: { status: true } });
  if (!tenant) throw new BulkheadError('NOT_FOUND');
  if (ERASED.includes(tenant.status))
    throw new BulkheadError('INVALID_STATE', {
      publicMessage: `The tenant is ${tenant.status}, so this cannot be done to it.`,
    });
}

const refused = (publicMessage: string): BulkheadError =>
  new BulkheadError('BAD_INPUT', { field: 'limit', publicMessage });
