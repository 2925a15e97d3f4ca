import { Inject, Injectable } from '@nestjs/common';
import type { TenantId } from '@bulkhead/contract';
import { API_DEPS } from '../deps.js';
import type { ToolInfo as ToolInfoView } from '@bulkhead/tool-gateway/admin';
import type { ApiDeps } from '../deps.js';

@Injectable()
export class ToolService {
  constructor(@Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'door' | 'tools'>) {}

  list(tenantId: TenantId): Promise<readonly ToolInfoView[]> {
    return this.deps.tools.list(this.deps.door.tenant(tenantId));
  }
}
