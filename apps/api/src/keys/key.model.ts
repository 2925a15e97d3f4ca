import { Field, GraphQLISODateTime, ID, ObjectType } from '@nestjs/graphql';

@ObjectType('ApiKey', { description: 'Without its secret, which is shown once and never kept.' })
export class ApiKeyModel {
  @Field(() => ID, {
    description: 'First part of the key, after `bhk_`. In the journal it is `key:<prefix>`.',
  })
  prefix!: string;
  @Field(() => String)
  name!: string;
  @Field(() => String)
  role!: string;
  @Field(() => [String], { nullable: true, description: 'null: all of the role.' })
  permissions?: readonly string[] | undefined;
  @Field(() => ID, { nullable: true, description: 'null: all workspaces.' })
  workspaceId?: string | undefined;
  @Field(() => String)
  createdBy!: string;
  @Field(() => GraphQLISODateTime)
  createdAt!: Date;
  @Field(() => GraphQLISODateTime, { nullable: true })
  expiresAt?: Date | undefined;
  @Field(() => GraphQLISODateTime, { nullable: true })
  revokedAt?: Date | undefined;
  @Field(() => GraphQLISODateTime, { nullable: true, description: 'To the minute.' })
  lastUsedAt?: Date | undefined;
}

@ObjectType('ApiKeyPage')
export class ApiKeyPageModel {
  @Field(() => [ApiKeyModel])
  nodes!: readonly ApiKeyModel[];
  @Field(() => ID, { nullable: true, description: 'Give it as `after` for the next page; null on the last.' })
  endCursor?: string | undefined;
}

@ObjectType('NewApiKey')
export class NewApiKeyModel {
  @Field(() => String, { description: 'The whole key, shown this once.' })
  key!: string;
  @Field(() => ApiKeyModel)
  apiKey!: ApiKeyModel;
}
