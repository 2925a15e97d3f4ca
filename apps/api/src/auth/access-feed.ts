import { Inject, Injectable } from '@nestjs/common';
import type { OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { CHANNELS } from '@bulkhead/contract';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';
import { Watchers } from '../watch/watchers.js';
import type { Caller } from './principal.js';

/**
 * Tells whoever keeps something open for a caller that who may act has changed. One LISTEN per process; a hint has no
 * content, so whoever hears it asks again.
 */
@Injectable()
export class AccessFeed implements OnModuleInit, OnModuleDestroy {
  private readonly watchers = new Watchers();
  private stop: (() => Promise<void>) | undefined;

  constructor(
    @Inject(API_DEPS) private readonly deps: { readonly control: Pick<ApiDeps['control'], 'listen'> },
  ) {}

  async onModuleInit(): Promise<void> {
    this.stop = await this.deps.control.listen(CHANNELS.access, (payload) => this.pass(payload));
  }

  async onModuleDestroy(): Promise<void> {
    await this.stop?.();
  }

  /** Calls `onHint` when what the caller may do may have changed, until the returned function is called. */
  watch(caller: Caller, onHint: () => void): () => void {
    return this.watchers.add(caller.kind === 'member' ? caller.tenantId : PLATFORM, onHint);
  }

  /** An empty hint is about the platform's operators, or comes after a time when nobody listened: then it is about all. */
  private pass(payload: string): void {
    this.watchers.tell(payload === '' ? undefined : [payload]);
  }
}

const PLATFORM = '';
