import { Field, ID, Int, ObjectType } from '@nestjs/graphql';
import type { Json } from '@bulkhead/contract';
import { JsonScalar } from '../graphql/json.scalar.js';

@ObjectType('Tool', { description: 'Something that agents of this tenant may be allowed to call.' })
export class ToolModel {
  @Field(() => ID)
  id!: string;
  @Field(() => Int)
  version!: number;
  @Field(() => Boolean)
  enabled!: boolean;
  @Field(() => String)
  description!: string;
  @Field(() => String, { description: 'http, mcp or model.' })
  adapter!: string;
  @Field(() => String, { description: 'read, write or irreversible.' })
  effect!: string;
  @Field(() => String, { description: 'keyed, natural or none.' })
  idempotency!: string;
  @Field(() => JsonScalar)
  inputSchema!: Json;
}
