import { Inject } from '@nestjs/common';
import { Query, Resolver } from '@nestjs/graphql';
import type { Agent, Tenant } from '@bulkhead/tenancy/admin';
import { Permission } from '../auth/permission.js';
import { CurrentPrincipal } from '../auth/principal.js';
import type { Principal } from '../auth/principal.js';
import { AgentModel, MeModel, TenantModel } from './tenant.model.js';
import { TenantService } from './tenant.service.js';

@Resolver(() => TenantModel)
export class TenantResolver {
  constructor(@Inject(TenantService) private readonly tenants: TenantService) {}

  @Query(() => MeModel)
  @Permission('tenant:read')
  async me(@CurrentPrincipal() { tenantId, actor, role }: Principal): Promise<MeModel> {
    return { actor, role, tenant: await this.tenants.get(tenantId) };
  }

  @Query(() => [TenantModel], {
    name: 'tenants',
    description: 'The tenants that the caller may see: its own.',
  })
  @Permission('tenant:read')
  async list(@CurrentPrincipal() principal: Principal): Promise<Tenant[]> {
    return [await this.tenants.get(principal.tenantId)];
  }

  @Query(() => [AgentModel])
  @Permission('agent:read')
  agents(@CurrentPrincipal() principal: Principal): Promise<Agent[]> {
    return this.tenants.agents(principal.tenantId);
  }
}
