import { Inject, Injectable } from '@nestjs/common';
import { BulkheadError } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import { getTenant, listAgents } from '@bulkhead/tenancy/admin';
import type { Agent, Tenant } from '@bulkhead/tenancy/admin';
import { asMember } from '../auth/principal.js';
import type { Caller, Principal } from '../auth/principal.js';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';
import { tenantIdOf } from './tenant-id.js';

@Injectable()
export class TenantService {
  constructor(@Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'door' | 'control'>) {}

  get(tenantId: TenantId): Promise<Tenant> {
    return getTenant(this.deps.door.tenant(tenantId));
  }

  /** @throws BulkheadError NOT_FOUND: the same for a foreign tenant, an unknown one and what is no id. */
  async visible(caller: Caller, id: string): Promise<Tenant> {
    const { tenantId } = caller.kind === 'platform' ? { tenantId: tenantIdOf(id) } : asMember(caller);
    if (tenantId === undefined || tenantId !== id) throw new BulkheadError('NOT_FOUND');
    return this.get(tenantId);
  }

  /** Every tenant, by id, for operators of the platform; at most 1,000. */
  all(): Promise<Tenant[]> {
    return this.deps.control.query<Tenant & Record<string, unknown>>(ALL);
  }

  agents(principal: Principal): Promise<Agent[]> {
    return listAgents(this.deps.door.tenant(principal.tenantId), principal.where('agent:read'));
  }
}

const ALL = `SELECT id, name, namespace, status, shown_control_state(t) AS "controlState", key_unavailable_since(id) AS "keyUnavailableSince", created_at AS "createdAt"
  FROM tenants t ORDER BY id LIMIT 1000`;
