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
  @Field(() => String, { description: 'provisioning, active or suspended.' })
  status!: string;
  @Field(() => String, { description: 'open, paused, killed or frozen.' })
  controlState!: string;
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

@ObjectType('Me', { description: 'Who the API key belongs to.' })
export class MeModel {
  @Field(() => String)
  actor!: string;
  @Field(() => String, { description: 'admin, operator or viewer.' })
  role!: string;
  @Field(() => TenantModel)
  tenant!: TenantModel;
}
