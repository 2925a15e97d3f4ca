import { Field, GraphQLISODateTime, ID, ObjectType, registerEnumType } from '@nestjs/graphql';
import { LIFECYCLE_KINDS, LIFECYCLE_STATES } from '@bulkhead/contract';
import type { LifecycleKind, LifecycleState } from '@bulkhead/contract';

const enumOf = (names: readonly string[]): Record<string, string> =>
  Object.fromEntries(names.map((name) => [name, name]));

export const LifecycleKindEnum = enumOf(LIFECYCLE_KINDS);
registerEnumType(LifecycleKindEnum, { name: 'LifecycleKind' });
export const LifecycleStateEnum = enumOf(LIFECYCLE_STATES);
registerEnumType(LifecycleStateEnum, {
  name: 'LifecycleState',
  description:
    'waiting: the grace period of an offboarding. reinstated: an offboarding that was taken back in time.',
});

@ObjectType('LifecycleStep')
export class LifecycleStepModel {
  @Field(() => String)
  name!: string;
  @Field(() => GraphQLISODateTime)
  startedAt!: Date;
  @Field(() => GraphQLISODateTime, { nullable: true, description: 'null while it is being done.' })
  doneAt?: Date | undefined;
}

@ObjectType('Lifecycle', { description: 'What is or was done to a tenant, by whom and why.' })
export class LifecycleModel {
  @Field(() => ID)
  id!: string;
  @Field(() => LifecycleKindEnum)
  kind!: LifecycleKind;
  @Field(() => LifecycleStateEnum)
  state!: LifecycleState;
  @Field(() => [LifecycleStepModel], { description: 'In the order in which they were begun.' })
  steps!: readonly LifecycleStepModel[];
  @Field(() => String)
  reason!: string;
  @Field(() => String, { description: 'Who ordered it.' })
  requestedBy!: string;
  @Field(() => GraphQLISODateTime)
  createdAt!: Date;
  @Field(() => GraphQLISODateTime, { nullable: true })
  startedAt?: Date | undefined;
  @Field(() => GraphQLISODateTime, { nullable: true })
  finishedAt?: Date | undefined;
  @Field(() => GraphQLISODateTime, {
    nullable: true,
    description: 'Until then an offboarding can be taken back.',
  })
  graceUntil?: Date | undefined;
  @Field(() => String, { nullable: true })
  reinstatedBy?: string | undefined;
  @Field(() => String, { nullable: true })
  reinstateReason?: string | undefined;
}
