import { Inject, Injectable } from '@nestjs/common';
import type { OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { CHANNELS } from '@bulkhead/contract';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';
import { Watchers } from '../watch/watchers.js';

/** Run ids carry their tenant, so an id alone says whose hint it is. */
const RUN_IDS = /[a-z][a-z0-9-]{1,30}[a-z0-9]\.run\.[0-9a-hjkmnp-tv-z]{26}/g;

/** One LISTEN per process; hints are passed on to whoever watches that run. They carry no content: watchers re-read. */
@Injectable()
export class RunFeed implements OnModuleInit, OnModuleDestroy {
  private readonly watchers = new Watchers();
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
    return this.watchers.add(runId, onHint);
  }

  private pass(payload: string): void {
    // a hint that names no run (after a reconnect, for example) may be about any
    this.watchers.tell(payload.match(RUN_IDS) ?? undefined);
  }
}
