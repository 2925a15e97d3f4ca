import { Inject } from '@nestjs/common';
import { Args, ID, Int, Mutation, Parent, ResolveField, Resolver } from '@nestjs/graphql';
import type { Json, RunId } from '@bulkhead/contract';
import type { Run, RunRequestView } from '@bulkhead/runs/admin';
import { Permission } from '../auth/permission.js';
import { CurrentPrincipal } from '../auth/principal.js';
import type { Principal } from '../auth/principal.js';
import { READ } from '../graphql/cost.js';
import { JsonScalar } from '../graphql/json.scalar.js';
import { SchemaPipe } from '../graphql/schema.pipe.js';
import { RunModel } from '../runs/run.model.js';
import {
  EventId,
  IdempotencyKey,
  OptionalKey,
  RequestReason,
  ResetPointEnum,
  SignalName,
} from './run-control.input.js';
import type { ResetTo } from './run-control.input.js';
import { resetPointOf, RunControlService } from './run-control.service.js';
import { RunRequestModel } from './run-request.model.js';

const Id = () => Args('id', { type: () => ID });
const Reason = () =>
  Args(
    'reason',
    { type: () => String, description: 'Shown with the run and journalled; 1 to 1000 characters.' },
    new SchemaPipe('reason', RequestReason),
  );
const Key = () =>
  Args(
    'idempotencyKey',
    {
      type: () => String,
      nullable: true,
      description:
        'The same key with the same run and arguments is the same request. Without one, so is a request that is pending.',
    },
    new SchemaPipe('idempotencyKey', OptionalKey),
  );

@Resolver(() => RunModel)
export class RunControlResolver {
  constructor(@Inject(RunControlService) private readonly control: RunControlService) {}

  @Mutation(() => RunModel, {
    description: 'Asks the run to stop. Its agent hears it, and an effect under way is settled first.',
  })
  @Permission('run:cancel')
  cancelRun(
    @CurrentPrincipal() principal: Principal,
    @Id() id: string,
    @Reason() reason: string,
    @Key() idempotencyKey: string | null,
  ): Promise<Run> {
    return this.control.ask(
      principal,
      id,
      { kind: 'cancel' },
      { reason, idempotencyKey: idempotencyKey ?? undefined },
    );
  }

  @Mutation(() => RunModel, { description: 'Ends the run at once; its agent is not asked.' })
  @Permission('run:terminate')
  terminateRun(
    @CurrentPrincipal() principal: Principal,
    @Id() id: string,
    @Reason() reason: string,
    @Key() idempotencyKey: string | null,
  ): Promise<Run> {
    return this.control.ask(
      principal,
      id,
      { kind: 'terminate' },
      { reason, idempotencyKey: idempotencyKey ?? undefined },
    );
  }

  @Mutation(() => RunModel, {
    description:
      'Tells the agent something that its workflow declares for people, with the argument that it expects.',
  })
  @Permission('run:signal')
  signalRun(
    @CurrentPrincipal() principal: Principal,
    @Id() id: string,
    @Reason() reason: string,
    @Args('name', { type: () => String }, new SchemaPipe('name', SignalName)) name: string,
    @Args('argument', {
      type: () => JsonScalar,
      nullable: true,
      description: '16 KiB at most; kept sealed, and not shown in the journal.',
    })
    argument: Json | undefined,
    @Args(
      'idempotencyKey',
      { type: () => String, description: 'The same key with the same run and arguments is the same signal.' },
      new SchemaPipe('idempotencyKey', IdempotencyKey),
    )
    idempotencyKey: string,
  ): Promise<Run> {
    return this.control.ask(principal, id, { kind: 'signal', name, argument }, { reason, idempotencyKey });
  }

  @Mutation(() => RunModel, {
    description:
      'Starts the run again from an earlier point, also one that has ended. What it has done is answered from the journal, never repeated.',
  })
  @Permission('run:reset')
  resetRun(
    @CurrentPrincipal() principal: Principal,
    @Id() id: string,
    @Reason() reason: string,
    @Args('to', { type: () => ResetPointEnum }) to: ResetTo,
    @Args('eventId', { type: () => Int, nullable: true }, new SchemaPipe('eventId', EventId))
    eventId: number | null,
    @Args('dropSignals', {
      type: () => Boolean,
      defaultValue: false,
      description: 'Leave out the signals that came after that point, for example one that was a mistake.',
    })
    dropSignals: boolean,
    @Key() idempotencyKey: string | null,
  ): Promise<Run> {
    const point = resetPointOf(to, eventId ?? undefined);
    return this.control.ask(
      principal,
      id,
      { kind: 'reset', point, dropSignals },
      { reason, idempotencyKey: idempotencyKey ?? undefined },
    );
  }

  @ResolveField(() => [RunRequestModel], {
    complexity: READ,
    description: 'What was asked of the run, or done to it from outside, newest first; at most 100.',
  })
  requests(
    @CurrentPrincipal('run:read') principal: Principal,
    @Parent() run: Run,
  ): Promise<readonly RunRequestView[]> {
    return this.control.list(principal.tenantId, run.id as RunId);
  }
}
