import { Inject, Injectable } from '@nestjs/common';
import type { OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { CHANNELS } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';
import { Watchers } from './watchers.js';

/** What the database tells of, by the word in front of the tenant. */
export type Told = 'approvals' | 'stops';

/** One LISTEN per process; hints are passed on to whoever watches that of that tenant. They carry no content. */
@Injectable()
export class TenantFeed implements OnModuleInit, OnModuleDestroy {
  private readonly watchers = new Watchers();
  private stop: (() => Promise<void>) | undefined;

  constructor(
    @Inject(API_DEPS) private readonly deps: { readonly control: Pick<ApiDeps['control'], 'listen'> },
  ) {}

  async onModuleInit(): Promise<void> {
    this.stop = await this.deps.control.listen(CHANNELS.changes, (payload) => this.pass(payload));
  }

  async onModuleDestroy(): Promise<void> {
    await this.stop?.();
  }

  /** Calls `onHint` when it may have changed, until the returned function is called. */
  watch(what: Told, tenantId: TenantId, onHint: () => void): () => void {
    return this.watchers.add(`${what} ${tenantId}`, onHint);
  }

  private pass(payload: string): void {
    // an empty hint comes after a time when nobody listened, and may be about anything
    this.watchers.tell(payload === '' ? undefined : [payload]);
  }
}
