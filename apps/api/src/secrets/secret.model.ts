import { Field, GraphQLISODateTime, ID, Int, ObjectType, registerEnumType } from '@nestjs/graphql';
import { REVOCATION_SCOPES } from '@bulkhead/secret-broker/admin';
import type { RevocationScope } from '@bulkhead/secret-broker/admin';

export const SecretAccessEnum = { read: 'read', mutate: 'mutate' } as const;
registerEnumType(SecretAccessEnum, {
  name: 'SecretAccess',
  description: 'read: for tools with effect `read` only.',
});
export const RevocationScopeEnum = Object.fromEntries(REVOCATION_SCOPES.map((scope) => [scope, scope]));
registerEnumType(RevocationScopeEnum, { name: 'RevocationScope' });

@ObjectType('Secret', { description: 'What may be known of a secret. Its value is not among it.' })
export class SecretModel {
  @Field(() => ID)
  name!: string;
  @Field()
  purpose!: string;
  @Field(() => SecretAccessEnum)
  access!: 'read' | 'mutate';
  @Field(() => [String], { description: 'host or host:port; it is sent nowhere else.' })
  boundHosts!: readonly string[];
  @Field(() => [String], { nullable: true, description: 'Agents, or `class:<quota class>`; null: any.' })
  agents?: readonly string[] | undefined;
  @Field(() => [String], { nullable: true, description: 'Tools; null: any that names it.' })
  tools?: readonly string[] | undefined;
  @Field(() => Int)
  version!: number;
  @Field(() => Int, { description: 'Raised with each change of who may use it, for what and where.' })
  rulesVersion!: number;
  @Field({ description: 'active or revoked.' })
  state!: string;
  @Field(() => GraphQLISODateTime, { description: 'When this version was stored.' })
  createdAt!: Date;
  @Field(() => GraphQLISODateTime, {
    nullable: true,
    description: 'When a run was last given its use, within 10 s.',
  })
  lastGrantedAt?: Date | undefined;
}

@ObjectType('RevocationResult', { description: 'Whom a revocation hit, or would hit.' })
export class RevocationResultModel {
  @Field(() => ID, { nullable: true, description: 'null: it was only counted.' })
  id?: string | undefined;
  @Field(() => Int, { complexity: 1, description: 'Values that are dead.' })
  versions!: number;
  @Field(() => Int, { description: 'Grants of runs under way.' })
  grants!: number;
  @Field(() => Int, { description: 'Requests under way, which are broken off.' })
  calls!: number;
  @Field({ description: 'No request can use it any more.' })
  inForce!: boolean;
  @Field(() => [String], { description: 'Hosts that still have such a request under way.' })
  waitingFor!: readonly string[];
}

@ObjectType('SecretRevocation')
export class RevocationModel {
  @Field(() => ID)
  id!: string;
  @Field(() => RevocationScopeEnum)
  scope!: RevocationScope;
  @Field(() => String, { nullable: true })
  secret?: string | undefined;
  @Field(() => Int, { nullable: true })
  version?: number | undefined;
  @Field(() => String, { nullable: true, description: 'The agent or tool.' })
  target?: string | undefined;
  @Field(() => Int, { complexity: 1 })
  versions!: number;
  @Field(() => Int)
  grants!: number;
  @Field(() => Int)
  calls!: number;
  @Field()
  reason!: string;
  @Field()
  actor!: string;
  @Field(() => GraphQLISODateTime)
  at!: Date;
  @Field(() => GraphQLISODateTime, { nullable: true })
  liftedAt?: Date | undefined;
  @Field(() => String, { nullable: true })
  liftedBy?: string | undefined;
  @Field(() => String, { nullable: true })
  liftReason?: string | undefined;
}
