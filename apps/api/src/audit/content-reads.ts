import { setImmediate as nextTurn } from 'node:timers/promises';
import { Inject, Injectable } from '@nestjs/common';
import type { ContentRead } from '@bulkhead/journal/admin';
import type { Principal } from '../auth/principal.js';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';

interface Batch {
  readonly reads: ContentRead[];
  readonly noted: Promise<void>;
}

/** Says who reads what of a run, before they are told: the policy of the run decides whether that is recorded. */
@Injectable()
export class ContentReads {
  private readonly open = new Map<string, Batch>();

  constructor(@Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'door' | 'journal'>) {}

  /**
   * Resolves when it may be told. The fields of one answer are resolved in one turn and share one round trip.
   * @throws BulkheadError DATABASE_UNAVAILABLE: nothing is told that could not be recorded
   */
  note(principal: Principal, read: ContentRead): Promise<void> {
    const who = JSON.stringify([principal.tenantId, principal.actor]);
    const batch = this.open.get(who) ?? this.begin(who, principal);
    batch.reads.push(read);
    return batch.noted;
  }

  private begin(who: string, { tenantId, actor }: Principal): Batch {
    const reads: ContentRead[] = [];
    const write = async (): Promise<void> => {
      await nextTurn();
      this.open.delete(who);
      await this.deps.journal.noteReads(this.deps.door.tenant(tenantId), actor, reads);
    };
    const batch = { reads, noted: write() };
    this.open.set(who, batch);
    return batch;
  }
}
