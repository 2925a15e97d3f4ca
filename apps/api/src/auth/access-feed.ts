import { Inject, Injectable } from '@nestjs/common';
import type { OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { CHANNELS } from '@bulkhead/contract';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';
import type { Caller } from './principal.js';

/**
 * Tells whoever keeps something open for a caller that who may act has changed. One LISTEN per process; a hint has no
 * content, so whoever hears it asks again.
 */
@Injectable()
export class AccessFeed implements OnModuleInit, OnModuleDestroy {
  private readonly watchers = new Map<string, Set<() => void>>();
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
    const whose = caller.kind === 'member' ? caller.tenantId : PLATFORM;
    const set = this.watchers.get(whose) ?? new Set();
    this.watchers.set(whose, set.add(onHint));
    return () => {
      set.delete(onHint);
      if (set.size === 0 && this.watchers.get(whose) === set) this.watchers.delete(whose);
    };
  }

  /** An empty hint is about the platform's operators, or comes after a time when nobody listened: then it is about all. */
  private pass(payload: string): void {
    const sets = payload === '' ? [...this.watchers.values()] : [this.watchers.get(payload)];
    for (const set of sets) for (const onHint of set ?? []) onHint();
  }
}

const PLATFORM = '';
