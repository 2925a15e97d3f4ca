import { Inject } from '@nestjs/common';
import { Field, GraphQLISODateTime, Mutation, ObjectType, Resolver } from '@nestjs/graphql';
import { Permission } from '../auth/permission.js';
import { asMember, CurrentCaller } from '../auth/principal.js';
import type { Caller } from '../auth/principal.js';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';
import { createLink, createOperatorLink } from './sessions.js';

@ObjectType('SignInLink', {
  description:
    'Opens Temporal UI in a browser, once: for the own tenant, or for all as an operator of the platform.',
})
export class SignInLinkModel {
  @Field(() => String)
  url!: string;
  @Field(() => GraphQLISODateTime)
  expiresAt!: Date;
}

@Resolver(() => SignInLinkModel)
export class SignInResolver {
  constructor(@Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'door' | 'control' | 'settings'>) {}

  @Mutation(() => SignInLinkModel)
  @Permission('ui:sign-in')
  async createSignInLink(@CurrentCaller() caller: Caller): Promise<SignInLinkModel> {
    const { door, control } = this.deps;
    const now = new Date();
    const { token, expiresAt } =
      caller.kind === 'platform'
        ? await createOperatorLink(control, caller, now)
        : await createLink(door.tenant(asMember(caller).tenantId), asMember(caller), now);
    return { url: `${this.deps.settings.publicUrl}/sign-in?token=${token}`, expiresAt };
  }
}
