import { Inject, Injectable } from '@nestjs/common';
import type { OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { CHANNELS } from '@bulkhead/contract';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';

/** Run ids carry their tenant, so an id alone says whose hint it is. */
const RUN_IDS = /[a-z][a-z0-9-]{1,30}[a-z0-9]\.run\.[0-9a-hjkmnp-tv-z]{26}/g;

/** One LISTEN per process; hints are passed on to whoever watches that run. They carry no content: watchers re-read. */
@Injectable()
export class RunFeed implements OnModuleInit, OnModuleDestroy {
  private readonly watchers = new Map<string, Set<() => void>>();
  private stop: (() => Promise<void>) | undefined;

  constructor(
    @Inject(API_DEPS) private readonly deps: { readonly control: Pick<ApiDeps['control'], 'listen'> },
  ) {}

  async onModuleInit(): Promise<void> {
    this.stop = await this.deps.control.listen(CHANNELS.runs, (payload) => this.pass(payload));
  }

  async onModuleDestroy(): Promise<void> {
    await this.stop?.();
  }

  /** Calls `onHint` when the run may have changed, until the returned function is called. */
  watch(runId: string, onHint: () => void): () => void {
    const set = this.watchers.get(runId) ?? new Set();
    this.watchers.set(runId, set.add(onHint));
    return () => {
      set.delete(onHint);
      if (set.size === 0 && this.watchers.get(runId) === set) this.watchers.delete(runId);
    };
  }

  private pass(payload: string): void {
    const ids = payload.match(RUN_IDS);
    // a hint that names no run (after a reconnect, for example) may be about any
    const sets = ids ? ids.map((id) => this.watchers.get(id)) : [...this.watchers.values()];
    for (const set of sets) for (const onHint of set ?? []) onHint();
  }
}
