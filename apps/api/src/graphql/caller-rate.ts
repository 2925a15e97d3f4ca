import { BoundedMap, BulkheadError } from '@bulkhead/contract';

/** Callers remembered at once; who was forgotten begins anew. */
const CALLERS_MAX = 10_000;
const MINUTE_MS = 60_000;

interface Bucket {
  readonly left: number;
  readonly atMs: number;
}

/** So many requests per minute and caller, all at once if they like; what was used grows back evenly. */
export class CallerRate {
  private readonly buckets = new BoundedMap<string, Bucket>(CALLERS_MAX);

  constructor(
    private readonly perMinute: number,
    private readonly nowMs: () => number = () => performance.now(),
  ) {}

  /** @throws BulkheadError TOO_MANY_REQUESTS with the limit and when the next one is taken */
  take(caller: string): void {
    this.expectLeft(caller);
    this.spend(caller);
  }

  /** Takes nothing. @throws BulkheadError as `take` does */
  expectLeft(caller: string): void {
    const { left } = this.now(caller);
    if (left >= 1) return;
    const retryAfterSeconds = Math.ceil(((1 - left) / this.perMinute) * (MINUTE_MS / 1_000));
    throw new BulkheadError('TOO_MANY_REQUESTS', { details: { limit: this.perMinute, retryAfterSeconds } });
  }

  /** For what is known only afterwards: many at once may spend more than was left, which is then forgiven. */
  spend(caller: string): void {
    const { left, atMs } = this.now(caller);
    this.buckets.set(caller, { left: Math.max(left - 1, 0), atMs });
  }

  private now(caller: string): Bucket {
    const atMs = this.nowMs();
    const before = this.buckets.get(caller);
    if (!before) return { left: this.perMinute, atMs };
    const grown = ((atMs - before.atMs) / MINUTE_MS) * this.perMinute;
    return { left: Math.min(this.perMinute, before.left + grown), atMs };
  }
}
