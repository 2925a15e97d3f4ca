import { agentId, BulkheadError, workspaceId } from '@bulkhead/contract';
import type { AgentId, WorkspaceId } from '@bulkhead/contract';
import type { TenantDb } from '@bulkhead/prisma/tenant';
import type { Principal } from '../auth/principal.js';

export interface FoundAgent {
  readonly id: AgentId;
  readonly workspaceId: WorkspaceId;
  readonly policyProfile: string;
}

/** An agent that the caller may see. @throws BulkheadError NOT_FOUND */
export async function findAgent(db: TenantDb, principal: Principal, id: string): Promise<FoundAgent> {
  const { tenantId } = principal;
  const within = principal.where('agent:read');
  const row = await db.run((tx) => tx.agent.findFirst({ where: { AND: [{ tenantId, id }, within] } }));
  if (!row) throw new BulkheadError('NOT_FOUND', { field: 'agentId' });
  return { id: agentId(row.id), workspaceId: workspaceId(row.workspaceId), policyProfile: row.policyProfile };
}
