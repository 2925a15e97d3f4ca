import { Inject, Injectable } from '@nestjs/common';
import type { Approval } from '@bulkhead/policy/admin';
import type { Credentials, Principal } from '../auth/principal.js';
import { TenantFeed } from '../watch/tenant-feed.js';
import { REREAD_MS, Watch } from '../watch/watch.js';
import { ApprovalService } from './approval.service.js';

interface Seen {
  readonly pending: readonly Approval[];
  /** What was pending and is not any more. */
  readonly ended: readonly Approval[];
}

/** An approval that is about to expire is read again right after that. */
const AFTER_EXPIRY_MS = 20;

@Injectable()
export class ApprovalWatch {
  constructor(
    @Inject(ApprovalService) private readonly approvals: Pick<ApprovalService, 'pending' | 'byIds'>,
    @Inject(TenantFeed) private readonly feed: Pick<TenantFeed, 'watch'>,
    @Inject(Watch) private readonly watch: Watch,
  ) {}

  open(principal: Principal, credentials: Credentials): Promise<AsyncIterableIterator<Approval>> {
    return this.watch.open<Seen, Approval>(principal, credentials, {
      needs: 'approval:read',
      watch: (onHint) => this.feed.watch('approvals', principal.tenantId, onHint),
      read: (now, before) => this.read(now, before),
      events: ({ pending, ended }, before) => {
        const known = new Set(before?.pending.map(({ id }) => id));
        // oldest first: as they came
        return [...ended, ...pending.filter(({ id }) => !known.has(id)).toReversed()];
      },
      rereadMs: ({ pending }) => {
        const next = Math.min(...pending.map(({ expiresAt }) => expiresAt.getTime()));
        return Math.min(REREAD_MS, Math.max(next - Date.now(), 0) + AFTER_EXPIRY_MS);
      },
    });
  }

  private async read(principal: Principal, before: Seen | undefined): Promise<Seen> {
    const pending = await this.approvals.pending(principal);
    const here = new Set(pending.map(({ id }) => id));
    const gone = (before?.pending ?? []).filter(({ id }) => !here.has(id));
    const now = await this.approvals.byIds(
      principal,
      gone.map(({ id }) => id),
    );
    return { pending, ended: now.filter(({ state }) => state !== 'pending') };
  }
}
