import { Inject, Injectable } from '@nestjs/common';
import { BulkheadError, parseApprovalId } from '@bulkhead/contract';
import { ContentReads } from '../audit/content-reads.js';
import type { Principal } from '../auth/principal.js';
import { API_DEPS } from '../deps.js';
import type { Approval as ApprovalView, StandingApproval } from '@bulkhead/policy/admin';
import type { ApiDeps } from '../deps.js';

@Injectable()
export class ApprovalService {
  constructor(
    @Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'door' | 'approvals'>,
    @Inject(ContentReads) private readonly reads: Pick<ContentReads, 'note'>,
  ) {}

  list(
    principal: Principal,
    page: { first: number; after: string | undefined; state: string | undefined },
  ): Promise<{ nodes: readonly ApprovalView[]; endCursor: string | undefined }> {
    const { tenantId } = principal;
    if (page.after !== undefined && parseApprovalId(page.after)?.tenantId !== tenantId) {
      throw new BulkheadError('BAD_INPUT', { field: 'after', publicMessage: 'after is not a cursor.' });
    }
    return this.deps.approvals.list(this.deps.door.tenant(tenantId), {
      ...page,
      within: principal.where('approval:read'),
    });
  }

  /** Those named, or without `ids` those that wait: the newest 100 in the caller's reach. */
  standing(principal: Principal, ids?: readonly string[]): Promise<readonly StandingApproval[]> {
    const within = principal.where('approval:read');
    return this.deps.approvals.standing(this.deps.door.tenant(principal.tenantId), {
      within,
      ...(ids && { ids }),
    });
  }

  /** undefined: there is none in the caller's reach. */
  find(principal: Principal, id: string): Promise<ApprovalView | undefined> {
    const db = this.deps.door.tenant(principal.tenantId);
    return this.deps.approvals.find(db, id, principal.where('approval:read'));
  }

  /** What the approval shows of the call, once that it is told stands in the journal where the policy wants it. */
  async told<T>(
    principal: Principal,
    { id: approvalId, runId }: ApprovalView,
    shown: T | undefined,
  ): Promise<T | undefined> {
    if (shown !== undefined) await this.reads.note(principal, { runId, what: 'arguments', approvalId });
    return shown;
  }

  /** @throws BulkheadError NOT_FOUND, the same for foreign, unknown and malformed ids and other workspaces. */
  async decide(
    principal: Principal,
    approvalId: string,
    decision: 'approved' | 'rejected',
    reason: string | undefined,
  ): Promise<ApprovalView> {
    const { tenantId, actor, role } = principal;
    if (parseApprovalId(approvalId)?.tenantId !== tenantId)
      throw new BulkheadError('NOT_FOUND', { field: 'id' });
    const db = this.deps.door.tenant(tenantId);
    const within = principal.where('approval:decide');
    return this.deps.approvals.decide(db, { approvalId, decision, decidedBy: actor, role, reason }, within);
  }
}
