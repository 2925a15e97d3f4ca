import { Inject } from '@nestjs/common';
import { Args, ID, Int, Mutation, Query, Resolver } from '@nestjs/graphql';
import type { z } from 'zod';
import type { ApiKey } from '@bulkhead/tenancy/admin';
import { Permission } from '../auth/permission.js';
import { CurrentPrincipal } from '../auth/principal.js';
import type { Principal } from '../auth/principal.js';
import { After, First } from '../graphql/page.js';
import { SchemaPipe } from '../graphql/schema.pipe.js';
import { CreateApiKey, CreateApiKeyInput, Prefix } from './key.input.js';
import { ApiKeyModel, ApiKeyPageModel, NewApiKeyModel } from './key.model.js';
import { KeyService } from './key.service.js';

@Resolver(() => ApiKeyModel)
export class KeyResolver {
  constructor(@Inject(KeyService) private readonly keys: KeyService) {}

  @Query(() => ApiKeyPageModel, {
    name: 'apiKeys',
    description: 'By prefix, also those that ended; who may not see all sees their own.',
  })
  @Permission('key:read')
  list(
    @CurrentPrincipal() principal: Principal,
    @Args('first', { type: () => Int, defaultValue: 20 }, new SchemaPipe('first', First)) first: number,
    @Args('after', { type: () => ID, nullable: true }, new SchemaPipe('after', After)) after: string | null,
  ): Promise<{ readonly nodes: readonly ApiKey[]; readonly endCursor: string | undefined }> {
    return this.keys.list(principal, { first, after: after ?? undefined });
  }

  @Mutation(() => NewApiKeyModel, {
    description:
      'A key can have less than its maker has and never more; a key of a person ends with the person.',
  })
  @Permission('key:create')
  createApiKey(
    @CurrentPrincipal() principal: Principal,
    @Args('input', { type: () => CreateApiKeyInput }, new SchemaPipe('input', CreateApiKey))
    input: z.infer<typeof CreateApiKey>,
  ): Promise<{ readonly key: string; readonly apiKey: ApiKey }> {
    return this.keys.create(principal, input);
  }

  @Mutation(() => [ApiKeyModel], {
    description: 'Refused from its next request on. Answers with every key that ended.',
  })
  @Permission('key:revoke')
  revokeApiKey(
    @CurrentPrincipal() principal: Principal,
    @Args('prefix', { type: () => ID }, new SchemaPipe('prefix', Prefix)) prefix: string,
    @Args('withItsKeys', {
      type: () => Boolean,
      defaultValue: false,
      description: 'Also every key that was made with it, and with those: for a key that leaked.',
    })
    withItsKeys: boolean,
  ): Promise<ApiKey[]> {
    return this.keys.revoke(principal, prefix, withItsKeys);
  }
}
