import { Inject, Injectable } from '@nestjs/common';
import type { z } from 'zod';
import { BulkheadError, buildInvitationId, parseInvitationId } from '@bulkhead/contract';
import { newUlid } from '@bulkhead/runtime/ulid';
import {
  acceptInvitation,
  changeRole,
  invite,
  listInvitations,
  listMembers,
  removeMember,
  revokeInvitation,
  tenantOfInvitation,
} from '@bulkhead/tenancy/admin';
import type { Invitation, Member } from '@bulkhead/tenancy/admin';
import { checkGift } from '../auth/giving.js';
import type { Caller, Principal } from '../auth/principal.js';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';
import type { ChangeRole, InviteMember } from './member.input.js';

const HOUR_MS = 3_600_000;

/** An invitation of a key ends with the key at the latest; a person's token ends within hours and the person stays. */
const endOf = ({ identity, expiresAt }: Principal, wantedMs: number): Date =>
  new Date(identity || !expiresAt ? wantedMs : Math.min(wantedMs, expiresAt.getTime()));

@Injectable()
export class MemberService {
  constructor(@Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'door'>) {}

  list(
    principal: Principal,
    page: { first: number; after: string | undefined },
  ): Promise<{ readonly nodes: readonly Member[]; readonly endCursor: string | undefined }> {
    return listMembers(this.db(principal), { ...page, within: principal.where('member:read') });
  }

  invitations(principal: Principal): Promise<Invitation[]> {
    return listInvitations(this.db(principal), principal.workspaceId);
  }

  /** @throws BulkheadError FORBIDDEN (more than the caller has), NOT_FOUND (no such workspace) */
  async invite(
    principal: Principal,
    input: z.infer<typeof InviteMember>,
  ): Promise<{ readonly token: string; readonly invitation: Invitation }> {
    const { role } = input;
    const workspaceId = input.workspaceId ?? undefined;
    checkGift(principal, { role, workspaceId });
    const now = Date.now();
    return invite(this.db(principal), {
      id: buildInvitationId(principal.tenantId, newUlid(now)),
      role,
      workspaceId,
      email: input.email ?? undefined,
      expiresAt: endOf(principal, now + input.expiresInHours * HOUR_MS),
      by: principal,
    });
  }

  /** @throws BulkheadError NOT_FOUND, the same for foreign, unknown and malformed ids. */
  async withdraw(principal: Principal, id: string): Promise<Invitation> {
    if (parseInvitationId(id)?.tenantId !== principal.tenantId) {
      throw new BulkheadError('NOT_FOUND', { field: 'id' });
    }
    const { workspaceId } = principal;
    return revokeInvitation(this.db(principal), { id, by: principal, workspaceId });
  }

  /** @throws BulkheadError FORBIDDEN for keys and operators of the platform, NOT_FOUND, INVALID_STATE */
  async accept(caller: Caller, token: string): Promise<Member & { readonly tenantId: string }> {
    if (caller.kind === 'platform' || !caller.identity) {
      throw new BulkheadError('FORBIDDEN', {
        publicMessage: 'An invitation is for a person: sign in with a token of your issuer.',
      });
    }
    const tenantId = tenantOfInvitation(token);
    if (!tenantId) throw new BulkheadError('NOT_FOUND', { field: 'token' });
    const { tenant } = caller.identity;
    // whoever took a token that is good for one tenant only must not make themselves a member of another with it
    if (tenant !== undefined && tenant !== tenantId)
      throw new BulkheadError('FORBIDDEN', {
        publicMessage: 'Your token is limited to another tenant: sign in without that limit.',
      });
    const member = await acceptInvitation(this.deps.door.tenant(tenantId), token, caller.identity);
    return { ...member, tenantId };
  }

  /** @throws BulkheadError FORBIDDEN, NOT_FOUND, INVALID_STATE for the last admin */
  async changeRole(principal: Principal, input: z.infer<typeof ChangeRole>): Promise<Member> {
    const { memberId, role, workspaceId } = input;
    // as before is within the caller's own reach, or the member is not found
    const given = workspaceId === undefined ? principal.workspaceId : (workspaceId ?? undefined);
    checkGift(principal, { role, workspaceId: given });
    const within = principal.where('member:change');
    return changeRole(this.db(principal), { memberId, role, workspaceId, by: principal, within });
  }

  /** @throws BulkheadError NOT_FOUND, INVALID_STATE for the last admin */
  remove(
    principal: Principal,
    memberId: string,
  ): Promise<{ readonly member: Member; readonly keysRevoked: number }> {
    const within = principal.where('member:remove');
    return removeMember(this.db(principal), { memberId, by: principal, within });
  }

  private db(principal: Principal): ReturnType<ApiDeps['door']['tenant']> {
    return this.deps.door.tenant(principal.tenantId);
  }
}
