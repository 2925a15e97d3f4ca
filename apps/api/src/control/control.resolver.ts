import { Inject } from '@nestjs/common';
import { Args, Context, ID, Mutation, Query, Resolver, Subscription } from '@nestjs/graphql';
import { z } from 'zod';
import type { StopScope, StopState } from '@bulkhead/tenancy/admin';
import { Permission } from '../auth/permission.js';
import { CurrentPrincipal } from '../auth/principal.js';
import type { Principal, RequestContext } from '../auth/principal.js';
import { READ } from '../graphql/cost.js';
import { SchemaPipe } from '../graphql/schema.pipe.js';
import { RequestReason } from '../run-control/run-control.input.js';
import { ControlScopeEnum, ControlStateModel, StopStateEnum } from './control.model.js';
import { ControlWatch } from './control-watch.js';
import { ControlService } from './control.service.js';
import type { ShownStop } from './control.service.js';

const Reason = () =>
  Args(
    'reason',
    {
      type: () => String,
      description: 'Shown with each run that waits, and journalled; 1 to 1000 characters.',
    },
    new SchemaPipe('reason', RequestReason),
  );
/** The agent or tool; what is none of this tenant's is not found. */
const Target = z.string().min(1).max(200).nullish();

@Resolver(() => ControlStateModel)
export class ControlResolver {
  constructor(
    @Inject(ControlService) private readonly control: ControlService,
    @Inject(ControlWatch) private readonly watch: ControlWatch,
  ) {}

  @Query(() => [ControlStateModel], {
    complexity: READ,
    description: 'What is stopped, newest first, at most 200; `lifted: true` shows what was resumed, too.',
  })
  @Permission('control:read')
  controlStates(
    @CurrentPrincipal() principal: Principal,
    @Args('lifted', { type: () => Boolean, defaultValue: false }) lifted: boolean,
  ): Promise<readonly ShownStop[]> {
    return this.control.list(principal, lifted);
  }

  @Subscription(() => [ControlStateModel], {
    name: 'controlStates',
    description:
      'All that is stopped as it is now, then anew after each stop, when it is in force, and after each resume.',
    resolve: (stops: readonly ShownStop[]) => stops,
  })
  @Permission('control:read')
  controlStatesChanged(
    @CurrentPrincipal() principal: Principal,
    @Context() context: RequestContext,
  ): Promise<AsyncIterableIterator<readonly ShownStop[]>> {
    return this.watch.open(principal, context);
  }

  @Mutation(() => ControlStateModel, {
    description:
      'Stops the calls of the tenant, of one agent or of one tool. Answers when that is in force, or with `inForce: false` and whom it waits for. The same stop again is the one that is there.',
  })
  @Permission('control:stop')
  stopCalls(
    @CurrentPrincipal() principal: Principal,
    @Args('scope', { type: () => ControlScopeEnum }) scope: StopScope,
    @Args(
      'target',
      { type: () => ID, nullable: true, description: 'The agent or tool; nothing for the whole tenant.' },
      new SchemaPipe('target', Target),
    )
    target: string | null,
    @Args('state', { type: () => StopStateEnum }) state: StopState,
    @Reason() reason: string,
    @Args('end', {
      type: () => Boolean,
      defaultValue: false,
      description: 'With killed: terminate every run that is covered, too. That is not undone by resuming.',
    })
    end: boolean,
  ): Promise<ShownStop> {
    return this.control.stop(principal, { scope, target: target ?? undefined, state, reason, end });
  }

  @Mutation(() => ControlStateModel, {
    description: 'Lifts one stop. Exactly the calls that it held go on, where they were; other stops stay.',
  })
  @Permission('control:resume')
  resumeCalls(
    @CurrentPrincipal() principal: Principal,
    @Args('id', { type: () => ID }) id: string,
    @Reason() reason: string,
  ): Promise<ShownStop> {
    return this.control.resume(principal, id, reason);
  }
}
