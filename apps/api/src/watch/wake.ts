/** A latch: a call that comes while nobody waits ends the next wait at once. */
export class Wake {
  private called = false;
  private closed = false;
  private resume: (() => void) | undefined;

  call(): void {
    this.called = true;
    this.resume?.();
  }

  close(): void {
    this.closed = true;
    this.resume?.();
  }

  /** false: the watcher is gone. */
  async wait(timeoutMs: number): Promise<boolean> {
    if (!this.called && !this.closed) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, timeoutMs);
      this.resume = resolve;
      await promise;
      clearTimeout(timer);
    }
    this.called = false;
    return !this.closed;
  }
}
