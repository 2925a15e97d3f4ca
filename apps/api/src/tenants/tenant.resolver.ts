import { Inject } from '@nestjs/common';
import { Args, ID, Query, Resolver } from '@nestjs/graphql';
import type { Agent, Tenant } from '@bulkhead/tenancy/admin';
import { Permission, SignedIn } from '../auth/permission.js';
import { asMember, CurrentCaller, CurrentPrincipal } from '../auth/principal.js';
import type { Caller, Principal } from '../auth/principal.js';
import { PERMISSIONS } from '../auth/roles.js';
import { AgentModel, MeModel, TenantModel } from './tenant.model.js';
import { TenantService } from './tenant.service.js';

@Resolver(() => TenantModel)
export class TenantResolver {
  constructor(@Inject(TenantService) private readonly tenants: TenantService) {}

  @Query(() => MeModel)
  @SignedIn('it tells callers about themselves')
  async me(@CurrentCaller() caller: Caller): Promise<MeModel> {
    const { actor } = caller;
    const permissions = PERMISSIONS.filter((permission) => caller.can(permission));
    if (caller.kind === 'platform') return { actor, role: caller.role, permissions, memberships: [] };
    if (caller.kind === 'person') return { actor, permissions, memberships: caller.memberships };
    const { tenantId, role, workspaceId, memberships } = caller;
    return {
      actor,
      role,
      permissions,
      workspaceId,
      tenant: await this.tenants.get(tenantId),
      memberships: memberships ?? [{ tenantId, role, workspaceId }],
    };
  }

  @Query(() => [TenantModel], {
    name: 'tenants',
    description: 'The tenants that the caller may see: its own, or all for operators of the platform.',
  })
  @Permission('tenant:read')
  async list(@CurrentCaller() caller: Caller): Promise<Tenant[]> {
    return caller.kind === 'platform'
      ? this.tenants.all()
      : [await this.tenants.get(asMember(caller).tenantId)];
  }

  @Query(() => TenantModel, { description: 'The own tenant, or any for operators of the platform.' })
  @Permission('tenant:read')
  tenant(@CurrentCaller() caller: Caller, @Args('id', { type: () => ID }) id: string): Promise<Tenant> {
    return this.tenants.visible(caller, id);
  }

  @Query(() => [AgentModel])
  @Permission('agent:read')
  agents(@CurrentPrincipal() principal: Principal): Promise<Agent[]> {
    return this.tenants.agents(principal);
  }
}
