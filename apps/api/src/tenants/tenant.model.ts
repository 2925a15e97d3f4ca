import { Field, GraphQLISODateTime, ID, ObjectType } from '@nestjs/graphql';
import type { Json } from '@bulkhead/contract';
import { JsonScalar } from '../graphql/json.scalar.js';

@ObjectType('Tenant')
export class TenantModel {
  @Field(() => ID)
  id!: string;
  @Field(() => String)
  name!: string;
  @Field(() => String, { description: 'Temporal namespace.' })
  namespace!: string;
  @Field(() => String, {
    description: 'provisioning, active, suspended, resuming, offboarding, erasing or offboarded.',
  })
  status!: string;
  @Field(() => String, {
    description:
      'open, killed, paused, read_only or frozen: the strongest stop of the whole tenant. controlStates has all, also those of agents and tools.',
  })
  controlState!: string;
  @Field(() => GraphQLISODateTime, {
    nullable: true,
    description:
      'Since when a host cannot use the key that encrypts for the tenant: it takes no work of the tenant until the key is back. null: all is well.',
  })
  keyUnavailableSince?: Date | null;
  @Field(() => GraphQLISODateTime)
  createdAt!: Date;
}

@ObjectType('Agent')
export class AgentModel {
  @Field(() => ID)
  id!: string;
  @Field(() => ID)
  workspaceId!: string;
  @Field(() => String)
  name!: string;
  @Field(() => String)
  description!: string;
  @Field(() => String)
  workflowType!: string;
  @Field(() => JsonScalar, { description: 'JSON Schema of what startRun takes as input.' })
  inputSchema!: Json;
  @Field(() => Boolean)
  enabled!: boolean;
}

@ObjectType('Membership')
export class MembershipModel {
  @Field(() => ID)
  tenantId!: string;
  @Field(() => String)
  role!: string;
  @Field(() => ID, { nullable: true, description: 'null: all workspaces.' })
  workspaceId?: string | undefined;
}

@ObjectType('Me', { description: 'Who is calling.' })
export class MeModel {
  @Field(() => String, { description: 'key:<prefix>, user:<id> or operator:<id>; what the journal says.' })
  actor!: string;
  @Field(() => String, {
    nullable: true,
    description:
      'admin, workflow-author, operator, auditor, viewer or platform; null for a person who is no member, or of several tenants and named none.',
  })
  role?: string | undefined;
  @Field(() => [String], { description: 'What this caller may do, as noun:verb.' })
  permissions!: readonly string[];
  @Field(() => ID, { nullable: true, description: 'The only workspace that the caller may see; null: all.' })
  workspaceId?: string | undefined;
  @Field(() => TenantModel, { nullable: true, description: 'null for operators of the platform.' })
  tenant?: TenantModel | undefined;
  @Field(() => [MembershipModel], { description: 'Choose one with the header x-bulkhead-tenant.' })
  memberships!: readonly MembershipModel[];
}
