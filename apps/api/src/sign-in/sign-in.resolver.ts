import { Inject } from '@nestjs/common';
import { Field, GraphQLISODateTime, Mutation, ObjectType, Resolver } from '@nestjs/graphql';
import { Permission } from '../auth/permission.js';
import { CurrentPrincipal } from '../auth/principal.js';
import type { Principal } from '../auth/principal.js';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';
import { createLink } from './sessions.js';

@ObjectType('SignInLink', { description: 'Opens Temporal UI for this tenant in a browser, once.' })
export class SignInLinkModel {
  @Field(() => String)
  url!: string;
  @Field(() => GraphQLISODateTime)
  expiresAt!: Date;
}

@Resolver(() => SignInLinkModel)
export class SignInResolver {
  constructor(@Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'door' | 'settings'>) {}

  @Mutation(() => SignInLinkModel)
  @Permission('ui:sign-in')
  async createSignInLink(@CurrentPrincipal() principal: Principal): Promise<SignInLinkModel> {
    const db = this.deps.door.tenant(principal.tenantId);
    const { token, expiresAt } = await createLink(db, principal.actor, new Date());
    return { url: `${this.deps.settings.publicUrl}/sign-in?token=${token}`, expiresAt };
  }
}
