import { Field, GraphQLISODateTime, ObjectType, registerEnumType } from '@nestjs/graphql';
import type { RunRequestKind } from '@bulkhead/runs/admin';

export const RunRequestKindEnum = {
  cancel: 'cancel',
  terminate: 'terminate',
  signal: 'signal',
  reset: 'reset',
} as const;
registerEnumType(RunRequestKindEnum, { name: 'RunRequestKind' });

export const RunRequestOriginEnum = { mutation: 'mutation', outside: 'outside' } as const;
registerEnumType(RunRequestOriginEnum, {
  name: 'RunRequestOrigin',
  description: 'outside: somebody who can reach the Temporal server did it there; Bulkhead noticed.',
});

@ObjectType('RunRequest', { description: 'What somebody asked of a run, and how it ended.' })
export class RunRequestModel {
  @Field(() => RunRequestKindEnum)
  kind!: RunRequestKind;
  @Field(() => RunRequestOriginEnum)
  origin!: 'mutation' | 'outside';
  @Field(() => String, { nullable: true, description: 'Why; null when it came from outside.' })
  reason?: string | undefined;
  @Field(() => String, { description: 'Who asked.' })
  actor!: string;
  @Field(() => String, { nullable: true, description: 'Name of the signal, when it is one.' })
  signal?: string | undefined;
  @Field(() => GraphQLISODateTime)
  at!: Date;
  @Field(() => GraphQLISODateTime, { nullable: true, description: 'null while it is being carried out.' })
  doneAt?: Date | undefined;
  @Field(() => String, { nullable: true, description: 'Why it could not be done; null when it was.' })
  failure?: string | undefined;
}
