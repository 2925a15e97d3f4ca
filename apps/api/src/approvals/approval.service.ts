import { Inject, Injectable } from '@nestjs/common';
import { BulkheadError, parseApprovalId } from '@bulkhead/contract';
import type { Principal } from '../auth/principal.js';
import { API_DEPS } from '../deps.js';
import type { Approval as ApprovalView } from '@bulkhead/policy/admin';
import type { ApiDeps } from '../deps.js';

@Injectable()
export class ApprovalService {
  constructor(@Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'door' | 'approvals'>) {}

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

  /** The newest 100 that wait. */
  async pending(principal: Principal): Promise<readonly ApprovalView[]> {
    return (await this.list(principal, { first: 100, after: undefined, state: 'pending' })).nodes;
  }

  /** As they are now, at most 100; those out of the caller's reach are left out. */
  async byIds(principal: Principal, ids: readonly string[]): Promise<readonly ApprovalView[]> {
    if (ids.length === 0) return [];
    const within = { AND: [principal.where('approval:read'), { id: { in: [...ids] } }] };
    const db = this.deps.door.tenant(principal.tenantId);
    return (await this.deps.approvals.list(db, { first: 100, within })).nodes;
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
