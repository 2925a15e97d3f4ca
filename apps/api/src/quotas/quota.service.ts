import { Inject, Injectable } from '@nestjs/common';
import { BulkheadError } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import type { TenantDb } from '@bulkhead/prisma/tenant';
import { grantQuota, setOwnQuota, usage } from '@bulkhead/quota/admin';
import type { QuotaChange, QuotaUsage } from '@bulkhead/quota/admin';
import { getTenant } from '@bulkhead/tenancy/admin';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';
import { tenantIdOf } from '../tenants/tenant-id.js';

@Injectable()
export class QuotaService {
  constructor(@Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'door'>) {}

  of(tenantId: TenantId): Promise<readonly QuotaUsage[]> {
    return usage(this.deps.door.tenant(tenantId), new Date());
  }

  /** @throws BulkheadError NOT_FOUND */
  async ofAny(id: string): Promise<readonly QuotaUsage[]> {
    const db = this.anyTenant(id);
    await getTenant(db); // or what every tenant has would be shown of one that is not there
    return usage(db, new Date());
  }

  /** @throws BulkheadError NOT_FOUND, INVALID_STATE */
  async grant(id: string, change: QuotaChange): Promise<QuotaUsage> {
    return grantQuota(this.anyTenant(id), change);
  }

  set(tenantId: TenantId, change: QuotaChange): Promise<QuotaUsage> {
    return setOwnQuota(this.deps.door.tenant(tenantId), change);
  }

  /** @throws BulkheadError NOT_FOUND for what is no id, as for a tenant that is not there */
  private anyTenant(id: string): TenantDb {
    const tenantId = tenantIdOf(id);
    if (tenantId === undefined) throw new BulkheadError('NOT_FOUND');
    return this.deps.door.tenant(tenantId);
  }
}
