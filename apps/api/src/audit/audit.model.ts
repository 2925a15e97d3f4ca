import { Field, Float, GraphQLISODateTime, ID, ObjectType } from '@nestjs/graphql';
import type { Json } from '@bulkhead/contract';
import { JsonScalar } from '../graphql/json.scalar.js';

@ObjectType('AuditEntry', {
  description:
    "A record of the tenant's journal that is about no effect: who changed what, and what was refused.",
})
export class AuditEntryModel {
  @Field(() => Float, { nullable: true, description: 'Place in the chain; null until the record is sealed.' })
  seq?: number | undefined;
  @Field(() => String, { description: 'control or refusal.' })
  kind!: string;
  @Field(() => GraphQLISODateTime)
  at!: Date;
  @Field(() => JsonScalar, { description: 'change, by, before and after.' })
  body!: Json;
}

@ObjectType('AuditPage')
export class AuditPageModel {
  @Field(() => [AuditEntryModel])
  nodes!: readonly AuditEntryModel[];
  @Field(() => ID, { nullable: true, description: 'Give it as `after` for the next page; null on the last.' })
  endCursor?: string | undefined;
}
