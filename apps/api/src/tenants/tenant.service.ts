import { Inject, Injectable } from '@nestjs/common';
import type { TenantId } from '@bulkhead/contract';
import { getTenant, listAgents } from '@bulkhead/tenancy/admin';
import type { Agent, Tenant } from '@bulkhead/tenancy/admin';
import type { Principal } from '../auth/principal.js';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';

@Injectable()
export class TenantService {
  constructor(@Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'door' | 'control'>) {}

  get(tenantId: TenantId): Promise<Tenant> {
    return getTenant(this.deps.door.tenant(tenantId));
  }

  /** Every tenant, by id, for operators of the platform; at most 1,000. */
  all(): Promise<Tenant[]> {
    return this.deps.control.query<Tenant & Record<string, unknown>>(ALL);
  }

  agents(principal: Principal): Promise<Agent[]> {
    return listAgents(this.deps.door.tenant(principal.tenantId), principal.where('agent:read'));
  }
}

const ALL = `SELECT id, name, namespace, status, control_state AS "controlState", created_at AS "createdAt"
  FROM tenants ORDER BY id LIMIT 1000`;
