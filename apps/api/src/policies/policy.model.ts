import { Field, Float, GraphQLISODateTime, ID, Int, ObjectType, registerEnumType } from '@nestjs/graphql';
import type { Json } from '@bulkhead/contract';
import { JsonScalar } from '../graphql/json.scalar.js';
import { KEEPING, READS } from '@bulkhead/contract/policy';
import { PolicyModeEnum } from './policy.input.js';

const KeepingEnum = Object.fromEntries(KEEPING.map((name) => [name, name]));
registerEnumType(KeepingEnum, {
  name: 'Keeping',
  description: 'kept: sealed, with the call. digest: only what proves it.',
});

const ReadsEnum = Object.fromEntries(READS.map((name) => [name, name]));
registerEnumType(ReadsEnum, {
  name: 'ContentReads',
  description: 'recorded: the journal says who was told the content of a run, before they are.',
});

@ObjectType('PolicySettings', { description: 'What is kept, and for how long; docs/policy.md.' })
export class PolicySettingsModel {
  @Field(() => KeepingEnum, { description: 'The arguments of calls.' })
  arguments!: string;
  @Field(() => ReadsEnum, { description: 'Reads of what runs were given, gave back and asked approval for.' })
  reads!: string;
  @Field(() => Int, {
    nullable: true,
    description:
      'Days after the end of a run for which the arguments of its calls are kept; null: without an end.',
  })
  argumentsDays?: number | undefined;
  @Field(() => Int, { nullable: true, description: 'The same for the answers of its calls.' })
  answersDays?: number | undefined;
  @Field(() => Int, { nullable: true, description: 'The same for what it was given and gave back.' })
  runsDays?: number | undefined;
}

@ObjectType('PolicyVersion', { description: 'A policy as it was published; it never changes.' })
export class PolicyVersionModel {
  @Field(() => String)
  profile!: string;
  @Field(() => Int)
  version!: number;
  @Field(() => Boolean, { description: 'Whether it decides now.' })
  inForce!: boolean;
  @Field(() => PolicyModeEnum)
  mode!: string;
  @Field(() => PolicySettingsModel, { nullable: true, description: 'null: they cannot be read here.' })
  settings?: PolicySettingsModel | undefined;
  @Field(() => JsonScalar)
  document!: Json;
  @Field(() => String)
  publishedBy!: string;
  @Field(() => GraphQLISODateTime)
  publishedAt!: Date;
  @Field(() => String)
  reason!: string;
}

@ObjectType('PolicyDraft', { description: 'A policy that is being written; it decides nothing.' })
export class PolicyDraftModel {
  @Field(() => String)
  profile!: string;
  @Field(() => String)
  name!: string;
  @Field(() => Int)
  revision!: number;
  @Field(() => Int, { description: 'The version in force when it was saved; 0: none.' })
  baseVersion!: number;
  @Field(() => JsonScalar)
  document!: Json;
  @Field(() => String)
  note!: string;
  @Field(() => String)
  savedBy!: string;
  @Field(() => GraphQLISODateTime)
  savedAt!: Date;
}

@ObjectType('PolicyRuleChange')
export class RuleChangeModel {
  @Field(() => String)
  id!: string;
  @Field(() => JsonScalar, { nullable: true, description: 'null: the rule is new.' })
  before?: Json | undefined;
  @Field(() => JsonScalar, { nullable: true, description: 'null: the rule is gone.' })
  after?: Json | undefined;
}

@ObjectType('PolicySettingChange')
export class SettingChangeModel {
  @Field(() => String, { description: 'Where the document has it, e.g. `audit.arguments`.' })
  name!: string;
  @Field(() => JsonScalar, { nullable: true, description: 'What held; null: without an end.' })
  before?: Json;
  @Field(() => JsonScalar, { nullable: true })
  after?: Json;
}

@ObjectType('PolicyDiff', { description: 'By rule; the order of rules means nothing and is no change.' })
export class PolicyDiffModel {
  @Field(() => PolicyModeEnum)
  modeBefore!: string;
  @Field(() => PolicyModeEnum)
  modeAfter!: string;
  @Field(() => [RuleChangeModel])
  rules!: readonly RuleChangeModel[];
  @Field(() => [SettingChangeModel])
  settings!: readonly SettingChangeModel[];
}

const outcomes = ['allowed', 'denied', 'approval_required'] as const;
const OutcomeEnum = Object.fromEntries(outcomes.map((name) => [name, name]));
registerEnumType(OutcomeEnum, { name: 'PolicyOutcome' });
const appliesEnum = { yes: 'yes', no: 'no', unreadable: 'unreadable' };
registerEnumType(appliesEnum, {
  name: 'RuleApplies',
  description:
    'unreadable: a fact that the rule names is missing or of another type; unless it allows, it denies.',
});

@ObjectType('PolicyReservation', { description: 'What the call would take from a limit rule.' })
export class ReservationModel {
  @Field(() => String)
  rule!: string;
  @Field(() => String, { description: 'Whose calls share it: tenant, workspace, agent or run.' })
  of!: string;
  @Field(() => String, { description: 'minute, hour or day of the clock (UTC), or ever.' })
  per!: string;
  @Field(() => Float)
  max!: number;
  @Field(() => Float)
  amount!: number;
}

@ObjectType('RuleOpinion')
export class RuleOpinionModel {
  @Field(() => String)
  id!: string;
  @Field(() => String)
  effect!: string;
  @Field(() => appliesEnum)
  applies!: string;
}

@ObjectType('Explanation', {
  description: 'What the policy would decide, and why. Nothing was counted, asked or done.',
})
export class ExplanationModel {
  @Field(() => OutcomeEnum)
  outcome!: string;
  @Field(() => String, { description: 'The rule that decides.' })
  rule!: string;
  @Field(() => String, {
    nullable: true,
    description: 'Why it would be refused, or would be if it were enforced.',
  })
  message?: string | undefined;
  @Field(() => Int, { nullable: true, description: 'null: a draft.' })
  version?: number | undefined;
  @Field(() => PolicyModeEnum)
  mode!: string;
  @Field(() => PolicySettingsModel, { nullable: true, description: 'null: the policy cannot be read.' })
  settings?: PolicySettingsModel | undefined;
  @Field(() => [String], { nullable: true, description: 'Roles that may approve.' })
  approvers?: readonly string[] | undefined;
  @Field(() => [ReservationModel])
  limits!: readonly ReservationModel[];
  @Field(() => [RuleOpinionModel], { description: 'Every rule that names the tool, by id.' })
  rules!: readonly RuleOpinionModel[];
  @Field(() => JsonScalar, { description: 'What the rules looked at.' })
  facts!: Json;
  @Field(() => ID)
  toolId!: string;
}
