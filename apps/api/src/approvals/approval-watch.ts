import { Inject, Injectable } from '@nestjs/common';
import type { Approval, StandingApproval } from '@bulkhead/policy/admin';
import type { Credentials, Principal } from '../auth/principal.js';
import { spaced } from '../watch/spaced.js';
import { TenantFeed } from '../watch/tenant-feed.js';
import { REREAD_MS, Watch } from '../watch/watch.js';
import { ApprovalService } from './approval.service.js';

/** Without what was asked: a hundred approvals of the largest size would be kept for each reader. */
interface Seen {
  readonly pending: readonly StandingApproval[];
  /** What was pending and is not any more. */
  readonly ended: readonly StandingApproval[];
}

/** An approval that is about to expire is read again right after that. */
const AFTER_EXPIRY_MS = 20;
/** Between two reads, however many approvals come and go. */
const SPACE_MS = 1_000;

@Injectable()
export class ApprovalWatch {
  constructor(
    @Inject(ApprovalService) private readonly approvals: Pick<ApprovalService, 'standing' | 'find'>,
    @Inject(TenantFeed) private readonly feed: Pick<TenantFeed, 'watch'>,
    @Inject(Watch) private readonly watch: Watch,
  ) {}

  open(principal: Principal, credentials: Credentials): Promise<AsyncIterableIterator<Approval>> {
    return this.watch.open<Seen, Approval>(principal, credentials, {
      needs: 'approval:read',
      watch: (onHint) => {
        const hints = spaced(onHint, SPACE_MS);
        const unwatch = this.feed.watch('approvals', principal.tenantId, hints.call);
        return () => {
          unwatch();
          hints.close();
        };
      },
      read: (now, before) => this.read(now, before),
      events: (now, before, reader) => this.opened(now, before, reader),
      rereadMs: ({ pending }) => {
        const next = Math.min(...pending.map(({ expiresAt }) => expiresAt.getTime()));
        return Math.min(REREAD_MS, Math.max(next - Date.now() + AFTER_EXPIRY_MS, SPACE_MS));
      },
    });
  }

  private async read(principal: Principal, before: Seen | undefined): Promise<Seen> {
    const pending = await this.approvals.standing(principal);
    const here = new Set(pending.map(({ id }) => id));
    const gone = (before?.pending ?? []).flatMap(({ id }) => (here.has(id) ? [] : id));
    const now = gone.length === 0 ? [] : await this.approvals.standing(principal, gone);
    return { pending, ended: now.filter(({ state }) => state !== 'pending') };
  }

  /** What ended and what is new, oldest first: as they came. One at a time, when the reader has taken the one before. */
  private async *opened(
    { pending, ended }: Seen,
    before: Seen | undefined,
    reader: () => Promise<Principal>,
  ): AsyncGenerator<Approval, undefined> {
    const known = new Set(before?.pending.map(({ id }) => id));
    const added = pending.filter(({ id }) => !known.has(id));
    for (const { id, state } of [...ended, ...added.toReversed()]) {
      const approval = await this.approvals.find(await reader(), id);
      // new, and not pending any more: the next read tells how it ended
      if (approval && (state !== 'pending' || approval.state === 'pending')) yield approval;
    }
  }
}
