import { Field, GraphQLISODateTime, ID, ObjectType } from '@nestjs/graphql';

@ObjectType('TenantKey', {
  description: 'A key that encrypts for the tenant. What it is made of is never shown.',
})
export class TenantKeyModel {
  @Field(() => ID)
  keyId!: string;
  @Field(() => String, {
    description: 'active: seals and opens. retired: opens what it sealed. destroyed: opens nothing.',
  })
  state!: string;
  @Field(() => GraphQLISODateTime)
  createdAt!: Date;
}
