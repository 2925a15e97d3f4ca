/**
 * Keeps one tenant from taking the whole pool: at most `share` of its calls run at once, later ones queue in order.
 * Without it a tenant with slow transactions would starve its neighbours of connections.
 */
export class FairShare {
  private readonly running = new Map<string, number>();
  private readonly waiting = new Map<string, (() => void)[]>();

  constructor(private readonly share: number) {}

  async use<T>(tenant: string, work: () => Promise<T>): Promise<T> {
    await this.enter(tenant);
    try {
      return await work();
    } finally {
      this.leave(tenant);
    }
  }

  private enter(tenant: string): Promise<void> | undefined {
    const now = this.running.get(tenant) ?? 0;
    if (now < this.share) {
      this.running.set(tenant, now + 1);
      return undefined;
    }
    return new Promise((resolve) => {
      const queue = this.waiting.get(tenant) ?? [];
      queue.push(resolve);
      this.waiting.set(tenant, queue);
    });
  }

  private leave(tenant: string): void {
    const next = this.waiting.get(tenant)?.shift();
    if (next) return next(); // the place is handed over, the count stays
    this.waiting.delete(tenant);
    const now = (this.running.get(tenant) ?? 1) - 1;
    if (now === 0) this.running.delete(tenant);
    else this.running.set(tenant, now);
  }
}
