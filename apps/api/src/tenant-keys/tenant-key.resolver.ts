import { Inject } from '@nestjs/common';
import { Args, Mutation, Query, Resolver } from '@nestjs/graphql';
import { listTenantKeys, rotateTenantKey } from '@bulkhead/tenancy/admin';
import type { TenantKey } from '@bulkhead/tenancy/admin';
import { Permission } from '../auth/permission.js';
import { CurrentPrincipal } from '../auth/principal.js';
import type { Principal } from '../auth/principal.js';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';
import { READ } from '../graphql/cost.js';
import { SchemaPipe } from '../graphql/schema.pipe.js';
import { RequestReason } from '../run-control/run-control.input.js';
import { TenantKeyModel } from './tenant-key.model.js';

@Resolver(() => TenantKeyModel)
export class TenantKeyResolver {
  constructor(@Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'door' | 'tenantKeys'>) {}

  @Query(() => [TenantKeyModel], { complexity: READ, description: 'Newest first.' })
  @Permission('tenant-key:read')
  tenantKeys(@CurrentPrincipal() { tenantId }: Principal): Promise<TenantKey[]> {
    return listTenantKeys(this.deps.door.tenant(tenantId));
  }

  @Mutation(() => [TenantKeyModel], {
    description:
      'Makes a new active key, which every process seals with within 10 s; the one before is retired and opens what it sealed. Answers with all keys, newest first.',
  })
  @Permission('tenant-key:rotate')
  async rotateTenantKey(
    @CurrentPrincipal('tenant-key:read') { tenantId, actor }: Principal,
    @Args(
      'reason',
      { type: () => String, description: 'Journalled; 1 to 1000 characters.' },
      new SchemaPipe('reason', RequestReason),
    )
    reason: string,
  ): Promise<TenantKey[]> {
    const db = this.deps.door.tenant(tenantId);
    await rotateTenantKey(db, this.deps.tenantKeys, { actor, reason });
    return listTenantKeys(db);
  }
}
