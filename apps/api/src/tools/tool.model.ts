import { Field, GraphQLISODateTime, ID, Int, ObjectType } from '@nestjs/graphql';
import type { Json } from '@bulkhead/contract';
import { JsonScalar } from '../graphql/json.scalar.js';

@ObjectType('ToolHold', { description: 'Why calls of a tool are answered provider_unavailable for a while.' })
export class ToolHoldModel {
  @Field(() => String, {
    description:
      'provider_cooldown: the tool asked for a pause. circuit_open: it failed several times in a row.',
  })
  kind!: string;
  @Field(() => String)
  message!: string;
  @Field(() => GraphQLISODateTime)
  until!: Date;
}

@ObjectType('ToolVersion', { description: 'What a tool was.' })
export class ToolVersionModel {
  @Field(() => Int)
  version!: number;
  @Field(() => JsonScalar)
  spec!: Json;
  @Field(() => String, { description: 'Who declared it.' })
  actor!: string;
  @Field(() => String, { description: 'Why.' })
  reason!: string;
  @Field(() => GraphQLISODateTime)
  at!: Date;
}

@ObjectType('Tool', { description: 'Something that agents of this tenant may be allowed to call.' })
export class ToolModel {
  @Field(() => ID)
  id!: string;
  @Field(() => Int)
  version!: number;
  @Field(() => Boolean)
  enabled!: boolean;
  @Field(() => String, { nullable: true, description: 'Why it is off.' })
  disabledReason?: string | undefined;
  @Field(() => ToolHoldModel, { nullable: true, description: 'null: calls are sent.' })
  hold?: ToolHoldModel | undefined;
  @Field(() => JsonScalar, {
    nullable: true,
    description:
      'What its MCP server offers, when that is not what was approved: pin, description, inputSchema.',
  })
  offer?: Json | undefined;
  @Field(() => String)
  description!: string;
  @Field(() => String, { description: 'http, mcp or model.' })
  adapter!: string;
  @Field(() => String, { description: 'read, write or irreversible.' })
  effect!: string;
  @Field(() => String, { description: 'keyed, natural or none.' })
  idempotency!: string;
  @Field(() => Boolean, { description: 'Runs on a queue of its own.' })
  expensive!: boolean;
  @Field(() => [String], { description: 'Classes of data that its answers hold.' })
  dataClasses!: readonly string[];
  @Field(() => JsonScalar)
  inputSchema!: Json;
  @Field(() => JsonScalar, { description: 'The whole declaration.' })
  spec!: Json;
}

@ObjectType('AgentTool', { description: 'A tool that an agent may call, or at least some calls of it.' })
export class AgentToolModel {
  @Field(() => ToolModel)
  tool!: ToolModel;
  @Field(() => String, {
    description:
      'always, or sometimes: it depends on the arguments, the time, or on what the run has read and done.',
  })
  allowed!: string;
  @Field(() => String, {
    description: 'Whether a person has to agree to a call: always, sometimes or never.',
  })
  asks!: string;
}

@ObjectType('McpImport', {
  description: 'An order to take over what an MCP server offers, and what came of it.',
})
export class McpImportModel {
  @Field(() => ID)
  id!: string;
  @Field(() => String, { description: 'First part of the ids of its tools.' })
  system!: string;
  @Field(() => JsonScalar)
  server!: Json;
  @Field(() => JsonScalar, {
    nullable: true,
    description: 'Which secret it was listed with, and in which header; never a value.',
  })
  credential?: Json | undefined;
  @Field(() => String, { description: 'asked, taken, done, or failed: nothing was changed.' })
  state!: string;
  @Field(() => String)
  actor!: string;
  @Field(() => String)
  reason!: string;
  @Field(() => GraphQLISODateTime)
  askedAt!: Date;
  @Field(() => GraphQLISODateTime, { nullable: true })
  endedAt?: Date | undefined;
  @Field(() => String, { nullable: true, description: 'Why it failed.' })
  message?: string | undefined;
  @Field(() => JsonScalar, {
    nullable: true,
    description:
      'By tool: name, toolId, change (new, same, changed, gone or left_out), message; of a changed one before and after.',
  })
  changes?: Json | undefined;
}
