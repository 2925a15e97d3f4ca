import { Field, GraphQLISODateTime, ID, ObjectType, registerEnumType } from '@nestjs/graphql';
import type { Json } from '@bulkhead/contract';
import { JsonScalar } from '../graphql/json.scalar.js';

export const ApprovalStateEnum = {
  pending: 'pending',
  approved: 'approved',
  rejected: 'rejected',
  expired: 'expired',
  void: 'void',
} as const;
export type ApprovalState = keyof typeof ApprovalStateEnum;
registerEnumType(ApprovalStateEnum, {
  name: 'ApprovalState',
  description:
    'expired: nobody decided in time. void: the decision about this call is another now, or its run has ended, so this one decides nothing.',
});

@ObjectType('Approval', {
  description: 'A call that waits for a person. It allows exactly these arguments, once, until it expires.',
})
export class ApprovalModel {
  @Field(() => ID)
  id!: string;
  @Field(() => ID)
  runId!: string;
  @Field(() => ID)
  toolId!: string;
  @Field(() => String, { description: 'Where the call goes.' })
  target!: string;
  @Field(() => String, { description: 'The policy rule that asks for it.' })
  rule!: string;
  @Field(() => JsonScalar)
  arguments!: Json;
  @Field(() => ApprovalStateEnum)
  state!: string;
  @Field(() => String)
  requestedBy!: string;
  @Field(() => [String], {
    description: 'Roles that may decide; never who started, signalled or reset the run.',
  })
  approvers!: readonly string[];
  @Field(() => String, { nullable: true })
  decidedBy?: string | undefined;
  @Field(() => GraphQLISODateTime, { nullable: true })
  decidedAt?: Date | undefined;
  @Field(() => String, { nullable: true })
  reason?: string | undefined;
  @Field(() => GraphQLISODateTime)
  createdAt!: Date;
  @Field(() => GraphQLISODateTime)
  expiresAt!: Date;
}

@ObjectType('ApprovalPage')
export class ApprovalPageModel {
  @Field(() => [ApprovalModel])
  nodes!: readonly ApprovalModel[];
  @Field(() => ID, { nullable: true, description: 'Give it as `after` for the next page; null on the last.' })
  endCursor?: string | undefined;
}
