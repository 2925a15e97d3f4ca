import { BoundedMap } from './bounded-map.js';
import type { TenantId } from './ids.js';

/** What is remembered for one tenant; `fresh` until its time is over. */
export interface Remembered<Value> {
  readonly value: Value;
  readonly fresh: boolean;
}

export interface TenantCacheOptions {
  /** Entries at most, of all tenants together; the one set longest ago makes room. */
  readonly max: number;
  /** Milliseconds for which an entry is fresh. */
  readonly freshMs: number;
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
}

/** Parts of a key below the tenant. JSON keeps their borders, so no separator inside one can imitate another key. */
export type CacheKey = readonly (string | number | null)[];

/**
 * The one way to remember something of a tenant. The tenant leads the key, the entry carries it as well, and a read
 * compares: what was remembered for one tenant is never answered to another.
 */
export class TenantCache<Value> {
  private readonly entries: BoundedMap<string, { tenantId: TenantId; value: Value; untilMs: number }>;

  constructor(private readonly options: TenantCacheOptions) {
    this.entries = new BoundedMap(options.max);
  }

  get(tenantId: TenantId, key: CacheKey): Remembered<Value> | undefined {
    const entry = this.entries.get(slotOf(tenantId, key));
    if (entry?.tenantId !== tenantId) return undefined;
    return { value: entry.value, fresh: entry.untilMs > this.options.nowMs() };
  }

  set(tenantId: TenantId, key: CacheKey, value: Value): void {
    const { freshMs, nowMs } = this.options;
    this.entries.set(slotOf(tenantId, key), { tenantId, value, untilMs: nowMs() + freshMs });
  }

  delete(tenantId: TenantId, key: CacheKey): void {
    this.entries.delete(slotOf(tenantId, key));
  }

  /** Forgets everything of one tenant. */
  deleteTenant(tenantId: TenantId): void {
    for (const [slot, entry] of this.entries) if (entry.tenantId === tenantId) this.entries.delete(slot);
  }
}

const slotOf = (tenantId: TenantId, key: CacheKey): string => JSON.stringify([tenantId, ...key]);
