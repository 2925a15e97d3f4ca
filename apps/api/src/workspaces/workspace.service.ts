import { Inject, Injectable } from '@nestjs/common';
import type { z } from 'zod';
import { createWorkspace, listWorkspaces } from '@bulkhead/tenancy/admin';
import type { Workspace } from '@bulkhead/tenancy/admin';
import type { Principal } from '../auth/principal.js';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';
import type { CreateWorkspace } from './workspace.input.js';

@Injectable()
export class WorkspaceService {
  constructor(@Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'door'>) {}

  list(principal: Principal): Promise<Workspace[]> {
    return listWorkspaces(this.deps.door.tenant(principal.tenantId), principal.where('workspace:read'));
  }

  /** @throws BulkheadError INVALID_STATE when there is one of that id. */
  create(principal: Principal, input: z.infer<typeof CreateWorkspace>): Promise<Workspace> {
    return createWorkspace(this.deps.door.tenant(principal.tenantId), { ...input, by: principal });
  }
}
