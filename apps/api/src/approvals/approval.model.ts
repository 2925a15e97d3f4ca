import { Field, GraphQLISODateTime, ID, Int, ObjectType, registerEnumType } from '@nestjs/graphql';
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

@ObjectType('Consequences', {
  description:
    'What the call would do, as the platform resolved it before it asked; nothing of it is said by the agent.',
})
export class ConsequencesModel {
  @Field(() => String, { description: 'What the tool does, by whoever registered it.' })
  description!: string;
  @Field(() => String, { description: 'read, write or irreversible.' })
  effect!: string;
  @Field(() => String, { description: 'keyed, natural or none: whether a repetition is harmless.' })
  idempotency!: string;
  @Field(() => String, { nullable: true, description: 'Name of the secret that is sent along.' })
  credential?: string | undefined;
  @Field(() => String, { description: 'Where exactly the request goes.' })
  destination!: string;
  @Field(() => String)
  adapter!: string;
  @Field(() => Int, {
    description: 'The declaration that this is about; another one needs another approval.',
  })
  toolVersion!: number;
}

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
  @Field(() => JsonScalar, { nullable: true, description: 'null: removed, see argumentsRemovedAt.' })
  arguments?: Json | undefined;
  @Field(() => GraphQLISODateTime, {
    nullable: true,
    description: 'Since when arguments and consequences are removed, as the policy says.',
  })
  argumentsRemovedAt?: Date | undefined;
  @Field(() => ConsequencesModel, {
    nullable: true,
    description: 'null for one that was asked for before this was kept, or removed.',
  })
  consequences?: ConsequencesModel | undefined;
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
