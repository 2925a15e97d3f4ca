import { Field, GraphQLISODateTime, ID, InputType, Int, registerEnumType } from '@nestjs/graphql';
import { z } from 'zod';
import type { Json } from '@bulkhead/contract';
import { POLICY_MODES } from '@bulkhead/contract/policy';
import { JsonScalar } from '../graphql/json.scalar.js';

/** GraphQL names have no hyphen. */
export const PolicyModeEnum = Object.fromEntries(POLICY_MODES.map((mode) => [mode.replace('-', '_'), mode]));
registerEnumType(PolicyModeEnum, {
  name: 'PolicyMode',
  description:
    'enforce: as written. observe: nothing is refused, what would have been is journalled. read_only: whatever changes something is refused. frozen: as enforce, and only further deny and ask rules can be published.',
});

export const Name = z.string().regex(/^[a-z][a-z0-9-]{0,62}$/, 'give a name of a-z, 0-9 and -, at most 63');
export const Why = z
  .string()
  .trim()
  .min(1, 'say why, in 1 to 1000 characters')
  .max(1000, 'say why, in 1 to 1000 characters');
export const VersionNumber = z.int().min(1);
export const OptionalVersion = VersionNumber.nullish();

@InputType()
export class SavePolicyDraftInput {
  @Field(() => String, { description: 'The profile that agents name, e.g. `default`.' })
  profile!: string;
  @Field(() => String, { description: 'Saved over the draft of this name, if there is one.' })
  name!: string;
  @Field(() => JsonScalar, { description: 'The whole document; see docs/policy.md.' })
  document!: Json;
  @Field(() => String, { description: 'What it is for.' })
  note!: string;
}
export const SavePolicyDraft = z.strictObject({
  profile: Name,
  name: Name,
  document: z.custom<Json>((value) => value !== undefined),
  note: Why,
});

@InputType()
export class PublishPolicyDraftInput {
  @Field(() => String)
  profile!: string;
  @Field(() => String)
  name!: string;
  @Field(() => Int, { description: 'The revision that was read: another one is not published.' })
  revision!: number;
  @Field(() => String, { description: 'Shown in the history and journalled; 1 to 1000 characters.' })
  reason!: string;
}
export const PublishPolicyDraft = z.strictObject({
  profile: Name,
  name: Name,
  revision: z.int().min(1),
  reason: Why,
});

const DataNames = z.array(z.string().max(120)).max(100).nullish();

@InputType({ description: 'A call that nobody makes: parsed, resolved and judged as a real one would be.' })
export class ExplainCallInput {
  @Field(() => ID)
  agentId!: string;
  @Field(() => ID)
  toolId!: string;
  @Field(() => JsonScalar)
  arguments!: Json;
  @Field(() => ID, { nullable: true, description: 'As a call of this run, with what it has read and done.' })
  runId?: string | null;
  @Field(() => [String], { nullable: true, description: 'Classes of data that the run is to have read.' })
  read?: string[] | null;
  @Field(() => [String], {
    nullable: true,
    description: 'Tools that the run is to have called with success.',
  })
  done?: string[] | null;
  @Field(() => GraphQLISODateTime, { nullable: true, description: 'As if it were then; default now.' })
  at?: Date | null;
  @Field(() => Int, { nullable: true, description: 'By this version; default the one in force.' })
  version?: number | null;
  @Field(() => String, { nullable: true, description: 'By this draft instead.' })
  draft?: string | null;
}
export const ExplainCall = z.strictObject({
  agentId: z.string().max(200),
  toolId: z.string().max(200),
  arguments: z.custom<Json>((value) => value !== undefined),
  runId: z.string().max(200).nullish(),
  read: DataNames,
  done: DataNames,
  at: z.date().nullish(),
  version: OptionalVersion,
  draft: Name.nullish(),
});
