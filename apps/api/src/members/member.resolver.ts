import { Inject } from '@nestjs/common';
import { Args, ID, Int, Mutation, Query, Resolver } from '@nestjs/graphql';
import type { z } from 'zod';
import type { Invitation, Member } from '@bulkhead/tenancy/admin';
import { Permission, SignedIn } from '../auth/permission.js';
import { CurrentCaller, CurrentPrincipal } from '../auth/principal.js';
import type { Caller, Principal } from '../auth/principal.js';
import { After, First } from '../graphql/page.js';
import { SchemaPipe } from '../graphql/schema.pipe.js';
import { MembershipModel } from '../tenants/tenant.model.js';
import {
  ChangeRole,
  ChangeRoleInput,
  InviteMember,
  InviteMemberInput,
  MemberId,
  Token,
} from './member.input.js';
import {
  InvitationModel,
  MemberModel,
  MemberPageModel,
  NewInvitationModel,
  RemovedMemberModel,
} from './member.model.js';
import { MemberService } from './member.service.js';

@Resolver(() => MemberModel)
export class MemberResolver {
  constructor(@Inject(MemberService) private readonly members: MemberService) {}

  @Query(() => MemberPageModel, { name: 'members', description: 'By id.' })
  @Permission('member:read')
  list(
    @CurrentPrincipal() principal: Principal,
    @Args('first', { type: () => Int, defaultValue: 20 }, new SchemaPipe('first', First)) first: number,
    @Args('after', { type: () => ID, nullable: true }, new SchemaPipe('after', After)) after: string | null,
  ): Promise<{ readonly nodes: readonly Member[]; readonly endCursor: string | undefined }> {
    return this.members.list(principal, { first, after: after ?? undefined });
  }

  @Query(() => [InvitationModel], {
    description: 'Those that can still be accepted, newest first; at most 200.',
  })
  @Permission('member:read')
  invitations(@CurrentPrincipal() principal: Principal): Promise<Invitation[]> {
    return this.members.invitations(principal);
  }

  @Mutation(() => NewInvitationModel, { description: 'Nobody can give more than they have themselves.' })
  @Permission('member:invite')
  inviteMember(
    @CurrentPrincipal() principal: Principal,
    @Args('input', { type: () => InviteMemberInput }, new SchemaPipe('input', InviteMember))
    input: z.infer<typeof InviteMember>,
  ): Promise<{ readonly token: string; readonly invitation: Invitation }> {
    return this.members.invite(principal, input);
  }

  @Mutation(() => InvitationModel)
  @Permission('member:invite')
  revokeInvitation(
    @CurrentPrincipal() principal: Principal,
    @Args('id', { type: () => ID }) id: string,
  ): Promise<Invitation> {
    return this.members.withdraw(principal, id);
  }

  @Mutation(() => MembershipModel, {
    description: 'Makes the person who asks a member; a key cannot accept.',
  })
  @SignedIn('the token of the invitation is the permission')
  acceptInvitation(
    @CurrentCaller() caller: Caller,
    @Args('token', { type: () => String }, new SchemaPipe('token', Token)) token: string,
  ): Promise<MembershipModel> {
    return this.members.accept(caller, token);
  }

  @Mutation(() => MemberModel, {
    description: "It holds from the member's next operation on, for their API keys too.",
  })
  @Permission('member:change')
  changeRole(
    @CurrentPrincipal() principal: Principal,
    @Args('input', { type: () => ChangeRoleInput }, new SchemaPipe('input', ChangeRole))
    input: z.infer<typeof ChangeRole>,
  ): Promise<Member> {
    return this.members.changeRole(principal, input);
  }

  @Mutation(() => RemovedMemberModel, {
    description: 'Ends the membership, and the API keys and open invitations of that person with it.',
  })
  @Permission('member:remove')
  removeMember(
    @CurrentPrincipal() principal: Principal,
    @Args('memberId', { type: () => ID }, new SchemaPipe('memberId', MemberId)) memberId: string,
  ): Promise<{ readonly member: Member; readonly keysRevoked: number }> {
    return this.members.remove(principal, memberId);
  }
}
