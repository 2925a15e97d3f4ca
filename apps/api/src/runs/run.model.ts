import { Field, Float, GraphQLISODateTime, ID, ObjectType, registerEnumType } from '@nestjs/graphql';
import { RUN_STATES } from '@bulkhead/contract';
import type { Json, RunState } from '@bulkhead/contract';
import { JsonScalar } from '../graphql/json.scalar.js';

export const RunStateEnum = Object.fromEntries(RUN_STATES.map((state) => [state, state]));
registerEnumType(RunStateEnum, {
  name: 'RunState',
  description: 'What a run is doing; waits are states, not timeouts.',
});

@ObjectType('Reason', { description: 'Why a run waits or was refused.' })
export class ReasonModel {
  @Field(() => String, { description: 'A sentence for a person.' })
  message!: string;
  @Field(() => String, { nullable: true, description: 'The policy rule that decided.' })
  rule?: string | undefined;
  @Field(() => String, { nullable: true, description: 'The quota layer or control state that decided.' })
  layer?: string | undefined;
  @Field(() => Float, { nullable: true })
  limit?: number | undefined;
  @Field(() => Float, { nullable: true })
  used?: number | undefined;
  @Field(() => String, { nullable: true, description: 'ISO 8601 instant at which the layer frees up.' })
  resetsAt?: string | undefined;
  @Field(() => String, { nullable: true, description: 'The input that was wrong, as a dotted path.' })
  field?: string | undefined;
  @Field(() => ID, { nullable: true })
  approvalId?: string | undefined;
}

@ObjectType('JournalEntry', { description: "One record of the tenant's hash-chained journal." })
export class JournalEntryModel {
  @Field(() => Float, { nullable: true, description: 'Place in the chain; null until the record is sealed.' })
  seq?: number | undefined;
  @Field(() => String, {
    description: 'intent, close, release, decision, approval, run, control, refusal or removal.',
  })
  kind!: string;
  @Field(() => String, { nullable: true, description: 'Call key of the effect that it is about.' })
  key?: string | undefined;
  @Field(() => GraphQLISODateTime)
  at!: Date;
  @Field(() => JsonScalar)
  body!: Json;
  @Field(() => String, { nullable: true, description: 'SHA-256 in hex.' })
  hash?: string | undefined;
}

@ObjectType('Run', { description: 'Accepted work of an agent.' })
export class RunModel {
  @Field(() => ID)
  id!: string;
  @Field(() => ID)
  agentId!: string;
  @Field(() => RunStateEnum)
  state!: RunState;
  @Field(() => ReasonModel, { nullable: true })
  reason?: ReasonModel | undefined;
  @Field(() => JsonScalar, { nullable: true, description: 'null: removed, see contentRemovedAt.' })
  input?: Json;
  @Field(() => JsonScalar, { nullable: true })
  result?: Json;
  @Field(() => String, { description: 'Who started it.' })
  actor!: string;
  @Field(() => GraphQLISODateTime)
  createdAt!: Date;
  @Field(() => GraphQLISODateTime, { nullable: true })
  startedAt?: Date | undefined;
  @Field(() => GraphQLISODateTime, { nullable: true })
  finishedAt?: Date | undefined;
  @Field(() => GraphQLISODateTime, {
    nullable: true,
    description:
      'Since when the arguments of its calls are removed, as its policy says; `journal` has the records.',
  })
  argumentsRemovedAt?: Date | undefined;
  @Field(() => GraphQLISODateTime, {
    nullable: true,
    description: 'The same for the answers of its calls. Without them it cannot be reset.',
  })
  answersRemovedAt?: Date | undefined;
  @Field(() => GraphQLISODateTime, { nullable: true, description: 'The same for input and result.' })
  contentRemovedAt?: Date | undefined;
}

@ObjectType('RunPage')
export class RunPageModel {
  @Field(() => [RunModel])
  nodes!: readonly RunModel[];
  @Field(() => ID, { nullable: true, description: 'Give it as `after` for the next page; null on the last.' })
  endCursor?: string | undefined;
}
