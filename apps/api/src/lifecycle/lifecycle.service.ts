import { Inject, Injectable } from '@nestjs/common';
import { BulkheadError } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import { newUlid } from '@bulkhead/runtime/ulid';
import { createTenant, getTenant, latestLifecycle, requestLifecycle } from '@bulkhead/tenancy/admin';
import type { Lifecycle, LifecycleOrder, Tenant } from '@bulkhead/tenancy/admin';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';
import { tenantIdOf } from '../tenants/tenant-id.js';

/** Who orders it, and why. */
export interface OrderedBy {
  readonly actor: string;
  readonly reason: string;
}

@Injectable()
export class LifecycleService {
  constructor(@Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'door' | 'tenantKeys'>) {}

  /** @throws BulkheadError BAD_INPUT for an id that cannot be one, INVALID_STATE for one that is or was in use. */
  async create(id: string, name: string, by: OrderedBy): Promise<Tenant> {
    const db = this.deps.door.tenant(idOf(id, 'BAD_INPUT'));
    const order = { ...by, ulid: newUlid(Date.now()) };
    const { created } = await createTenant(db, this.deps.tenantKeys, { name, order });
    if (!created)
      throw new BulkheadError('INVALID_STATE', {
        field: 'id',
        publicMessage: 'A tenant of this id exists, or was offboarded.',
      });
    return getTenant(db);
  }

  /** Commits what is to be done; the control process does it. @throws BulkheadError NOT_FOUND, INVALID_STATE */
  async order(id: string, order: LifecycleOrder, by: OrderedBy): Promise<Tenant> {
    const db = this.deps.door.tenant(idOf(id, 'NOT_FOUND'));
    await requestLifecycle(db, { order, ...by, ulid: newUlid(Date.now()) });
    return getTenant(db);
  }

  latest(tenantId: TenantId): Promise<Lifecycle | undefined> {
    return latestLifecycle(this.deps.door.tenant(tenantId));
  }
}

function idOf(text: string, otherwise: 'BAD_INPUT' | 'NOT_FOUND'): TenantId {
  const id = tenantIdOf(text);
  if (id === undefined) throw new BulkheadError(otherwise, { field: 'id' });
  return id;
}
