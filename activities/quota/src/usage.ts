import type { Prisma, TenantClient, TenantDb } from '@bulkhead/prisma/tenant';

/** Layers that admit reserves. Windows are UTC days, `YYYY-MM-DD`. */
export const QUOTA_LAYERS = {
  toolCallsPerDay: 'tool_calls_per_day',
  /** What calls cost, in millionths of the tenant's currency, as their tools declare or report it. */
  costMicrosPerDay: 'cost_micros_per_day',
} as const;
export type QuotaLayer = (typeof QUOTA_LAYERS)[keyof typeof QUOTA_LAYERS];
/** What every tenant has without a grant of its own; the database says the same. */
const DEFAULT_LIMITS = {
  tool_calls_per_day: 1_000,
  cost_micros_per_day: undefined,
} as const satisfies Record<QuotaLayer, number | undefined>;
/** The largest limit: a thousand times what one call may say it cost, and exact as a number. */
export const LIMIT_MAX = 1_000_000_000_000_000;
const DAY_MS = 86_400_000;

/** undefined as a limit: it is counted and never refused. */
export interface QuotaLimits {
  /** By the platform's operators, or what every tenant has. */
  readonly granted: number | undefined;
  /** By the tenant's admins, below what is granted; undefined: none. */
  readonly own: number | undefined;
  /** The lower of both: what admit applies. */
  readonly limit: number | undefined;
}

export interface QuotaUsage extends QuotaLimits {
  readonly layer: QuotaLayer;
  readonly used: number;
  /** UTC day, `YYYY-MM-DD`. */
  readonly window: string;
  /** When the next window begins. */
  readonly resetsAt: Date;
}

/** What is used of each layer in the window of `now`. */
export function usage(db: TenantDb, now: Date): Promise<readonly QuotaUsage[]> {
  return db.run((tx) => usageOf(tx, now));
}

/** As `usage`, in a transaction that is under way. */
export async function usageOf(tx: TenantClient, now: Date): Promise<readonly QuotaUsage[]> {
  const window = now.toISOString().slice(0, 10);
  const quotas = await tx.quota.findMany();
  const counters = await tx.counter.findMany({ where: { window } });
  return Object.values(QUOTA_LAYERS).map((layer) => ({
    layer,
    window,
    resetsAt: new Date(Date.parse(window) + DAY_MS),
    used: Number(counters.find((row) => row.layer === layer)?.used ?? 0),
    ...limitsOf(
      layer,
      quotas.find((row) => row.layer === layer),
    ),
  }));
}

/** @param row undefined: nobody has set anything for the layer. */
export function limitsOf(
  layer: QuotaLayer,
  row: Prisma.QuotaGetPayload<object> | null | undefined,
): QuotaLimits {
  return {
    granted: numberOf(row?.granted) ?? DEFAULT_LIMITS[layer],
    own: numberOf(row?.own),
    limit: numberOf(row?.limit) ?? DEFAULT_LIMITS[layer],
  };
}

const numberOf = (value: bigint | null | undefined): number | undefined =>
  value === null || value === undefined ? undefined : Number(value);
