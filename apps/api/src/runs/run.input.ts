import { Field, ID, InputType } from '@nestjs/graphql';
import { z } from 'zod';
import { AgentIdSchema } from '@bulkhead/contract/schemas';
import type { Json } from '@bulkhead/contract';
import { JsonScalar } from '../graphql/json.scalar.js';

@InputType('StartRunInput')
export class StartRunInput {
  @Field(() => ID)
  agentId!: string;
  @Field(() => String, {
    description:
      '1 to 128 characters, one name space per workspace. The same key with the same agent and input gives the same run, so it is safe to ask again.',
  })
  idempotencyKey!: string;
  @Field(() => JsonScalar, { description: 'Fits the inputSchema of the agent; 64 KiB at most.' })
  input!: Json;
}

export const StartRun = z.strictObject({
  agentId: AgentIdSchema,
  idempotencyKey: z.string().regex(/^[\x21-\x7e]{1,128}$/, 'give 1 to 128 visible ASCII characters'),
  // what it must look like is the agent's schema, checked by acceptRun
  input: z.custom<Json>((value) => value !== undefined, 'is required'),
});
