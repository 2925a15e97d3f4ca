import { Field, ID, InputType } from '@nestjs/graphql';
import { z } from 'zod';
import { WorkspaceIdSchema } from '@bulkhead/contract/schemas';
import { lineOf } from '../graphql/text.js';

@InputType('CreateWorkspaceInput')
export class CreateWorkspaceInput {
  @Field(() => ID, {
    description: 'Lower-case letters, digits and hyphens, beginning with a letter; 63 at most.',
  })
  id!: string;
  @Field(() => String, { description: '1 to 100 characters.' })
  name!: string;
}

export const CreateWorkspace = z.strictObject({ id: WorkspaceIdSchema, name: lineOf(100) });
