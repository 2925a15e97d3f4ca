import { Inject, Injectable } from '@nestjs/common';
import type { TenantId } from '@bulkhead/contract';
import { API_DEPS } from '../deps.js';
import type { ApiDeps, ToolView } from '../deps.js';

@Injectable()
export class ToolService {
  constructor(@Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'door' | 'tools'>) {}

  list(tenantId: TenantId): Promise<readonly ToolView[]> {
    return this.deps.tools.list(this.deps.door.tenant(tenantId));
  }
}
