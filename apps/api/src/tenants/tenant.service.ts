import { Inject, Injectable } from '@nestjs/common';
import type { TenantId } from '@bulkhead/contract';
import { getTenant, listAgents } from '@bulkhead/tenancy/admin';
import type { Agent, Tenant } from '@bulkhead/tenancy/admin';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';

@Injectable()
export class TenantService {
  constructor(@Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'door'>) {}

  get(tenantId: TenantId): Promise<Tenant> {
    return getTenant(this.deps.door.tenant(tenantId));
  }

  agents(tenantId: TenantId): Promise<Agent[]> {
    return listAgents(this.deps.door.tenant(tenantId));
  }
}
