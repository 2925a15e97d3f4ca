import type { TenantDb } from '@bulkhead/prisma/tenant';
import { grantQuota, LIMIT_MAX, QUOTA_LAYERS, usage } from '@bulkhead/quota/admin';
import type { QuotaLayer, QuotaUsage } from '@bulkhead/quota/admin';
import { getTenant } from '@bulkhead/tenancy/admin';
import { typist } from './tenant-lifecycle.js';

const LAYERS: readonly string[] = Object.values(QUOTA_LAYERS);
/** Takes a grant back: the tenant has what every tenant has. */
const DEFAULT = 'default';

interface Typed {
  readonly layer?: string | undefined;
  readonly limit?: string | undefined;
}

/**
 * Grants what `typed` says, if it says anything, for the `reason` that is asked for then; and shows what the tenant may use today, a line for each layer.
 * @throws RangeError for a layer or a limit that there is not; BulkheadError NOT_FOUND, INVALID_STATE
 */
export async function quota(
  db: TenantDb,
  typed: Typed,
  reason: () => string,
): Promise<Record<string, string>> {
  const order = orderOf(typed);
  await getTenant(db); // or what every tenant has would be shown of one that is not there
  if (order) {
    await grantQuota(db, { ...order, reason: reason(), actor: typist() });
  }
  const lines = (await usage(db, new Date())).map((shown) => [shown.layer, lineOf(shown)] as const);
  return { tenant: db.tenantId, ...Object.fromEntries(lines) };
}

function orderOf({ layer, limit }: Typed): { layer: QuotaLayer; limit: number | undefined } | undefined {
  if (layer === undefined && limit === undefined) return undefined;
  if (layer === undefined || !LAYERS.includes(layer))
    throw new RangeError(`--layer must be one of ${LAYERS.join(', ')}`);
  const isNumber = limit !== undefined && /^\d{1,16}$/.test(limit) && Number(limit) <= LIMIT_MAX;
  if (limit !== DEFAULT && !isNumber)
    throw new RangeError(`--limit must be a whole number from 0 to ${LIMIT_MAX}, or ${DEFAULT}`);
  return { layer: layer as QuotaLayer, limit: limit === DEFAULT ? undefined : Number(limit) };
}

function lineOf({ limit, granted, own, used, resetsAt }: QuotaUsage): string {
  const shown = (value: number | undefined) => (value === undefined ? 'none' : String(value));
  return `limit ${shown(limit)}, granted ${shown(granted)}, its own ${shown(own)}, used ${used} until ${resetsAt.toISOString()}`;
}
