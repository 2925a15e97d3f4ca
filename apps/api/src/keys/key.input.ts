import { Field, GraphQLISODateTime, ID, InputType } from '@nestjs/graphql';
import { z } from 'zod';
import { WorkspaceIdSchema } from '@bulkhead/contract/schemas';
import { ROLES } from '@bulkhead/tenancy/admin';
import { PERMISSIONS } from '../auth/roles.js';
import { lineOf } from '../graphql/text.js';
import { RoleName } from '../members/member.input.js';

const YEAR_MS = 366 * 86_400_000;

@InputType('CreateApiKeyInput')
export class CreateApiKeyInput {
  @Field(() => String, { description: 'For people; 1 to 100 characters.' })
  name!: string;
  @Field(() => String, { description: `One of ${ROLES.join(', ')}.` })
  role!: string;
  @Field(() => [String], {
    nullable: true,
    description: 'Only these permissions of the role, as in me { permissions }; all of them unless given.',
  })
  permissions?: string[] | null;
  @Field(() => ID, { nullable: true, description: 'Limits the key to this workspace.' })
  workspaceId?: string | null;
  @Field(() => GraphQLISODateTime, {
    nullable: true,
    description: "Ten years from now at most; never after the maker's own key ends.",
  })
  expiresAt?: Date | null;
}

export const CreateApiKey = z.strictObject({
  name: lineOf(100),
  role: RoleName,
  permissions: z
    .array(z.enum(PERMISSIONS as [(typeof PERMISSIONS)[number]], 'must be the name of a permission'))
    .min(1)
    .max(100)
    .nullish(),
  workspaceId: WorkspaceIdSchema.nullish(),
  expiresAt: z
    .date()
    .refine((at) => at.getTime() > Date.now(), 'must be in the future')
    .refine((at) => at.getTime() < Date.now() + 10 * YEAR_MS, 'must be within ten years')
    .nullish(),
});

export const Prefix = z.string().min(1).max(200);
