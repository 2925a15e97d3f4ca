import { Field, GraphQLISODateTime, ID, Int, ObjectType } from '@nestjs/graphql';

@ObjectType('Member', { description: 'A person of this tenant.' })
export class MemberModel {
  @Field(() => ID, { description: 'In the journal they are `user:<id>`.' })
  id!: string;
  @Field(() => String, { nullable: true, description: 'As their issuer verified it when they joined.' })
  email?: string | undefined;
  @Field(() => String, { nullable: true })
  name?: string | undefined;
  @Field(() => String)
  role!: string;
  @Field(() => ID, { nullable: true, description: 'null: all workspaces.' })
  workspaceId?: string | undefined;
  @Field(() => String, { description: 'Who invited them.' })
  createdBy!: string;
  @Field(() => GraphQLISODateTime)
  createdAt!: Date;
}

@ObjectType('MemberPage')
export class MemberPageModel {
  @Field(() => [MemberModel])
  nodes!: readonly MemberModel[];
  @Field(() => ID, { nullable: true, description: 'Give it as `after` for the next page; null on the last.' })
  endCursor?: string | undefined;
}

@ObjectType('RemovedMember')
export class RemovedMemberModel {
  @Field(() => MemberModel)
  member!: MemberModel;
  @Field(() => Int, { description: 'API keys of theirs that ended with the membership.' })
  keysRevoked!: number;
}

@ObjectType('Invitation', { description: 'Makes one person a member, once.' })
export class InvitationModel {
  @Field(() => ID)
  id!: string;
  @Field(() => String)
  role!: string;
  @Field(() => ID, { nullable: true, description: 'null: all workspaces.' })
  workspaceId?: string | undefined;
  @Field(() => String, {
    nullable: true,
    description: 'Only a person with this verified address may accept.',
  })
  email?: string | undefined;
  @Field(() => String)
  createdBy!: string;
  @Field(() => GraphQLISODateTime)
  createdAt!: Date;
  @Field(() => GraphQLISODateTime)
  expiresAt!: Date;
}

@ObjectType('NewInvitation')
export class NewInvitationModel {
  @Field(() => String, { description: 'Shown this once. The person gives it to acceptInvitation.' })
  token!: string;
  @Field(() => InvitationModel)
  invitation!: InvitationModel;
}
