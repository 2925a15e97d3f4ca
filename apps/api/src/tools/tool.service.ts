import { Inject, Injectable } from '@nestjs/common';
import { buildImportId } from '@bulkhead/contract';
import type { Json, TenantId } from '@bulkhead/contract';
import { newUlid } from '@bulkhead/runtime/ulid';
import { policyReach } from '@bulkhead/policy/admin';
import {
  approveOffer,
  listImports,
  orderImport,
  describeTool,
  findTool,
  putTool,
  setToolEnabled,
  toolHistory,
} from '@bulkhead/tool-gateway/admin';
import type { McpImport, ToolInfo as ToolInfoView, ToolVersionInfo } from '@bulkhead/tool-gateway/admin';
import type { Principal } from '../auth/principal.js';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';
import { findAgent } from '../policies/find-agent.js';
import type { AgentToolModel } from './tool.model.js';

interface Change {
  readonly id: string;
  readonly reason: string;
}

/** Changes of tools wait for every admit under way, so they use the door that calls do not crowd. */
@Injectable()
export class ToolService {
  constructor(@Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'door' | 'controlDoor' | 'tools'>) {}

  list(tenantId: TenantId): Promise<readonly ToolInfoView[]> {
    return this.deps.tools.list(this.deps.door.tenant(tenantId));
  }

  /**
   * The tools that are on and of which some call may be allowed, with the policy in force.
   * @throws BulkheadError NOT_FOUND
   */
  async callable(principal: Principal, agentId: string): Promise<readonly AgentToolModel[]> {
    const db = this.deps.door.tenant(principal.tenantId);
    const { id: agent, workspaceId: workspace, policyProfile } = await findAgent(db, principal, agentId);
    const reach = await policyReach(db, policyProfile);
    const tools = (await this.deps.tools.list(db)).filter(({ enabled }) => enabled);
    return tools
      .map((tool) => ({ tool, ...reach({ ...describeTool(tool.id, tool.spec), agent, workspace }) }))
      .filter(({ allowed }) => allowed !== 'never');
  }

  imports(tenantId: TenantId): Promise<readonly McpImport[]> {
    return listImports(this.deps.door.tenant(tenantId));
  }

  /** @throws BulkheadError BAD_INPUT, INVALID_STATE */
  orderImport(
    { tenantId, actor }: Principal,
    order: {
      readonly system: string;
      readonly server: Json;
      readonly credential: Json | undefined;
      readonly reason: string;
    },
  ): Promise<McpImport> {
    const id = buildImportId(tenantId, newUlid(Date.now()));
    return orderImport(this.deps.door.tenant(tenantId), { ...order, id, actor });
  }

  history(tenantId: TenantId, id: string): Promise<readonly ToolVersionInfo[]> {
    return toolHistory(this.deps.door.tenant(tenantId), id);
  }

  /** @throws BulkheadError BAD_INPUT, NOT_FOUND, INVALID_STATE */
  async put(
    { tenantId, actor }: Principal,
    { id, spec, reason, presence }: Change & { spec: Json; presence: 'absent' | 'present' },
  ): Promise<ToolInfoView> {
    const db = this.deps.controlDoor.tenant(tenantId);
    await putTool(db, id, spec, { actor, reason }, presence);
    return findTool(db, id);
  }

  /** @throws BulkheadError NOT_FOUND */
  async setEnabled(
    { tenantId, actor }: Principal,
    { id, reason, enabled }: Change & { enabled: boolean },
  ): Promise<ToolInfoView> {
    const db = this.deps.controlDoor.tenant(tenantId);
    await setToolEnabled(db, id, enabled, { actor, reason });
    return findTool(db, id);
  }

  /** @throws BulkheadError NOT_FOUND, INVALID_STATE, BAD_INPUT */
  async approve(
    { tenantId, actor }: Principal,
    { id, pin, reason }: Change & { pin: string },
  ): Promise<ToolInfoView> {
    const db = this.deps.controlDoor.tenant(tenantId);
    await approveOffer(db, id, pin, { actor, reason });
    return findTool(db, id);
  }
}
