import { Field, ID, InputType, Int } from '@nestjs/graphql';
import { z } from 'zod';
import { WorkspaceIdSchema } from '@bulkhead/contract/schemas';
import { ROLES } from '@bulkhead/tenancy/admin';

const HOURS_MAX = 30 * 24;

export const RoleName = z.enum(ROLES, `must be one of ${ROLES.join(', ')}`);

@InputType('InviteMemberInput')
export class InviteMemberInput {
  @Field(() => String, { description: `One of ${ROLES.join(', ')}.` })
  role!: string;
  @Field(() => ID, { nullable: true, description: 'Limits the member to this workspace.' })
  workspaceId?: string | null;
  @Field(() => String, {
    nullable: true,
    description:
      'Only a person whose issuer has verified this address may accept. Without it, whoever has the token.',
  })
  email?: string | null;
  @Field(() => Int, { nullable: true, description: `1 to ${HOURS_MAX}; 72 unless given.` })
  expiresInHours?: number | null;
}

export const InviteMember = z.strictObject({
  role: RoleName,
  workspaceId: WorkspaceIdSchema.nullish(),
  email: z.email().max(320).nullish(),
  expiresInHours: z
    .int()
    .min(1)
    .max(HOURS_MAX)
    .nullish()
    .transform((hours) => hours ?? 72),
});

@InputType('ChangeRoleInput')
export class ChangeRoleInput {
  @Field(() => ID)
  memberId!: string;
  @Field(() => String, { description: `One of ${ROLES.join(', ')}.` })
  role!: string;
  @Field(() => ID, { nullable: true, description: 'null: all workspaces. Left out: as before.' })
  workspaceId?: string | null;
}

export const ChangeRole = z.strictObject({
  memberId: z.string().min(1).max(200),
  role: RoleName,
  workspaceId: WorkspaceIdSchema.nullish(),
});

/** Whether it names an invitation is found out in one place; here it only has a bounded length. */
export const Token = z.string().min(1).max(200);
export const MemberId = z.string().min(1).max(200);
