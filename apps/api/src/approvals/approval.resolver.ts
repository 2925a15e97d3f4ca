import { Inject } from '@nestjs/common';
import {
  Args,
  Context,
  ID,
  Int,
  Mutation,
  Parent,
  Query,
  ResolveField,
  Resolver,
  Subscription,
} from '@nestjs/graphql';
import { z } from 'zod';
import type { Json } from '@bulkhead/contract';
import { Permission } from '../auth/permission.js';
import { CurrentPrincipal } from '../auth/principal.js';
import type { Principal, RequestContext } from '../auth/principal.js';
import type { Approval as ApprovalView } from '@bulkhead/policy/admin';
import { JsonScalar } from '../graphql/json.scalar.js';
import { After, First } from '../graphql/page.js';
import { SchemaPipe } from '../graphql/schema.pipe.js';
import { ApprovalModel, ApprovalPageModel, ApprovalStateEnum, ConsequencesModel } from './approval.model.js';
import type { ApprovalState } from './approval.model.js';
import { ApprovalWatch } from './approval-watch.js';
import { ApprovalService } from './approval.service.js';

const ReasonText = z.string().min(1).max(1000).nullish();

@Resolver(() => ApprovalModel)
export class ApprovalResolver {
  constructor(
    @Inject(ApprovalService) private readonly approvals: ApprovalService,
    @Inject(ApprovalWatch) private readonly watch: ApprovalWatch,
  ) {}

  @Query(() => ApprovalPageModel, { name: 'approvals', description: 'Newest first.' })
  @Permission('approval:read')
  list(
    @CurrentPrincipal() principal: Principal,
    @Args('state', { type: () => ApprovalStateEnum, nullable: true }) state: ApprovalState | null,
    @Args('first', { type: () => Int, defaultValue: 20 }, new SchemaPipe('first', First)) first: number,
    @Args('after', { type: () => ID, nullable: true }, new SchemaPipe('after', After)) after: string | null,
  ): Promise<{ nodes: readonly ApprovalView[]; endCursor: string | undefined }> {
    return this.approvals.list(principal, {
      first,
      after: after ?? undefined,
      state: state ?? undefined,
    });
  }

  @Subscription(() => ApprovalModel, {
    name: 'approvals',
    description:
      'Each approval that is pending, oldest first, then each new one, and each that was decided, expired or became void. Of more than 100 pending ones the newest.',
    resolve: (approval: ApprovalView) => approval,
  })
  @Permission('approval:read')
  approvalsChanged(
    @CurrentPrincipal() principal: Principal,
    @Context() context: RequestContext,
  ): Promise<AsyncIterableIterator<ApprovalView>> {
    return this.watch.open(principal, context);
  }

  @Mutation(() => ApprovalModel, { description: 'Allows the call with exactly the arguments shown, once.' })
  @Permission('approval:decide')
  approve(
    @CurrentPrincipal('approval:read') principal: Principal,
    @Args('id', { type: () => ID }) id: string,
    @Args('reason', { type: () => String, nullable: true }, new SchemaPipe('reason', ReasonText))
    reason: string | null,
  ): Promise<ApprovalView> {
    return this.approvals.decide(principal, id, 'approved', reason ?? undefined);
  }

  @Mutation(() => ApprovalModel, {
    description: 'Refuses the call; its workflow goes on with the outcome `denied`.',
  })
  @Permission('approval:decide')
  reject(
    @CurrentPrincipal('approval:read') principal: Principal,
    @Args('id', { type: () => ID }) id: string,
    @Args('reason', { type: () => String, nullable: true }, new SchemaPipe('reason', ReasonText))
    reason: string | null,
  ): Promise<ApprovalView> {
    return this.approvals.decide(principal, id, 'rejected', reason ?? undefined);
  }

  @ResolveField(() => JsonScalar, {
    name: 'arguments',
    nullable: true,
    description: 'null: removed, see argumentsRemovedAt.',
    complexity: 1,
  })
  shownArguments(
    @CurrentPrincipal('approval:read') principal: Principal,
    @Parent() approval: ApprovalView,
  ): Promise<Json | undefined> {
    return this.approvals.told(principal, approval, approval.arguments);
  }

  @ResolveField(() => ConsequencesModel, {
    nullable: true,
    description: 'null for one that was asked for before this was kept, or removed.',
    complexity: 1,
  })
  consequences(
    @CurrentPrincipal('approval:read') principal: Principal,
    @Parent() approval: ApprovalView,
  ): Promise<ConsequencesModel | undefined> {
    return this.approvals.told(principal, approval, approval.consequences);
  }
}
