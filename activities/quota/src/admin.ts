import { BulkheadError } from '@bulkhead/contract';
import type { TenantDb } from '@bulkhead/prisma/tenant';

/** Layers that admit reserves. Windows are UTC days, `YYYY-MM-DD`. */
export const QUOTA_LAYERS = {
  toolCallsPerDay: 'tool_calls_per_day',
  /** What calls cost, in millionths of the tenant's currency, as their tools declare or report it. */
  costMicrosPerDay: 'cost_micros_per_day',
} as const;
export type QuotaLayer = (typeof QUOTA_LAYERS)[keyof typeof QUOTA_LAYERS];
/** What admit applies when the tenant has no row of its own. */
const DEFAULT_LIMITS = {
  tool_calls_per_day: 1_000,
  cost_micros_per_day: undefined,
} as const satisfies Record<QuotaLayer, number | undefined>;

export interface QuotaUsage {
  readonly layer: QuotaLayer;
  /** undefined: it is counted and never refused. */
  readonly limit: number | undefined;
  readonly used: number;
  /** UTC day, `YYYY-MM-DD`. */
  readonly window: string;
}

/** Sets a layer's limit (0 and up); it holds from the next admit on. @throws BulkheadError BAD_INPUT for other numbers. */
export async function setQuota(db: TenantDb, layer: QuotaLayer, limit: number): Promise<void> {
  if (!Number.isSafeInteger(limit) || limit < 0) {
    throw new BulkheadError('BAD_INPUT', {
      field: 'limit',
      publicMessage: 'limit must be a whole number, 0 or more.',
    });
  }
  const { tenantId } = db;
  await db.change((tx) =>
    tx.quota.upsert({
      where: { tenantId_layer: { tenantId, layer } },
      create: { tenantId, layer, limit },
      update: { limit },
    }),
  );
}

/** What is used of each layer in the window of `now`. */
export async function usage(db: TenantDb, now: Date): Promise<readonly QuotaUsage[]> {
  const window = now.toISOString().slice(0, 10);
  const [quotas, counters] = await db.run(async (tx) => [
    await tx.quota.findMany(),
    await tx.counter.findMany({ where: { window } }),
  ]);
  return Object.values(QUOTA_LAYERS).map((layer) => ({
    layer,
    window,
    limit: numberOf(quotas.find((row) => row.layer === layer)?.limit) ?? DEFAULT_LIMITS[layer],
    used: Number(counters.find((row) => row.layer === layer)?.used ?? 0),
  }));
}

const numberOf = (value: bigint | undefined): number | undefined =>
  value === undefined ? undefined : Number(value);
