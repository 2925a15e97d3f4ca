import { BulkheadError } from '@bulkhead/contract';
import type { Caller } from '../auth/principal.js';

/** How many of a kind are open, per tenant and per caller; operators of the platform count as one tenant. */
export class OpenCounts {
  private readonly counts = new Map<string, number>();

  constructor(private readonly limits: { readonly perTenant: number; readonly perCaller: number }) {}

  /**
   * Counts one in and returns the function that counts it out; it may be called twice.
   * @throws BulkheadError TOO_MANY_SUBSCRIPTIONS with the limit
   */
  take(caller: Caller): () => void {
    const tenant = caller.kind === 'member' ? `tenant ${caller.tenantId}` : 'platform';
    const places = [
      { key: tenant, limit: this.limits.perTenant },
      { key: `${tenant} ${caller.actor}`, limit: this.limits.perCaller },
    ];
    for (const { key, limit } of places) {
      const found = (this.counts.get(key) ?? 0) + 1;
      if (found > limit) throw new BulkheadError('TOO_MANY_SUBSCRIPTIONS', { details: { limit, found } });
    }
    for (const { key } of places) this.counts.set(key, (this.counts.get(key) ?? 0) + 1);
    let counted = true;
    return () => {
      if (!counted) return;
      counted = false;
      for (const { key } of places) this.release(key);
    };
  }

  private release(key: string): void {
    const left = (this.counts.get(key) ?? 1) - 1;
    if (left === 0) this.counts.delete(key);
    else this.counts.set(key, left);
  }
}
