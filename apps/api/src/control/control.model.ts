import { Field, GraphQLISODateTime, ID, ObjectType, registerEnumType } from '@nestjs/graphql';
import { STOP_SCOPES, STOP_STATES } from '@bulkhead/tenancy/admin';
import type { StopScope, StopState } from '@bulkhead/tenancy/admin';

export const ControlScopeEnum = Object.fromEntries(STOP_SCOPES.map((scope) => [scope, scope]));
registerEnumType(ControlScopeEnum, { name: 'ControlScope' });

export const StopStateEnum = Object.fromEntries(STOP_STATES.map((state) => [state, state]));
registerEnumType(StopStateEnum, {
  name: 'StopState',
  description:
    'killed: nothing is called, what is under way is broken off. paused: nothing is called, what is under way may end. read_only, frozen: reads go on.',
});

@ObjectType('ControlState', { description: 'One kill, pause, read-only or freeze.' })
export class ControlStateModel {
  @Field(() => ID)
  id!: string;
  @Field(() => ControlScopeEnum)
  scope!: StopScope;
  @Field(() => String, { nullable: true, description: 'The agent or tool; null: the whole tenant.' })
  target?: string | undefined;
  @Field(() => StopStateEnum)
  state!: StopState;
  @Field({ description: 'Whether it also ended the runs.' })
  end!: boolean;
  @Field()
  reason!: string;
  @Field({ description: 'Who did it.' })
  actor!: string;
  @Field(() => GraphQLISODateTime)
  at!: Date;
  @Field({
    description:
      'No call that it covers can send a byte any more: each earlier one is settled or broken off, or its host is fenced.',
  })
  inForce!: boolean;
  @Field(() => [String], { description: 'Hosts that still have such a call under way.' })
  waitingFor!: readonly string[];
  @Field(() => GraphQLISODateTime, { nullable: true })
  resumedAt?: Date | undefined;
  @Field(() => String, { nullable: true })
  resumedBy?: string | undefined;
  @Field(() => String, { nullable: true })
  resumeReason?: string | undefined;
}
