import { Field, ID, ObjectType } from '@nestjs/graphql';

@ObjectType('Workspace', { description: 'A part of the tenant: agents and runs belong to one.' })
export class WorkspaceModel {
  @Field(() => ID)
  id!: string;
  @Field(() => String)
  name!: string;
}
