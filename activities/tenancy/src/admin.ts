import { BulkheadError, CHANNELS, placementOf } from '@bulkhead/contract';
import type { AgentId, Json, TenantId, WorkspaceId } from '@bulkhead/contract';
import type { Prisma, TenantClient, TenantDb } from '@bulkhead/prisma/tenant';
import { orderProvision } from './lifecycle.js';
import type { LifecycleRequest } from './lifecycle.js';
import type { TenantKeys } from './tenant-keys.js';

export { parseApiKey, ROLES, sameHash } from './api-keys.js';
export type { ApiKeyParts, Role } from './api-keys.js';
export type { By, Standing } from './changes.js';
export {
  acceptInvitation,
  invite,
  listInvitations,
  revokeInvitation,
  tenantOfInvitation,
} from './invitations.js';
export type { Invitation, Invited } from './invitations.js';
export { createApiKey, listApiKeys, revokeApiKey } from './keys.js';
export type { ApiKey } from './keys.js';
export { changeRole, listMembers, removeMember } from './members.js';
export type { Member } from './members.js';
export { personId } from './people.js';
export { listStops, resumeCalls, STOP_SCOPES, STOP_STATES, stopCalls, untilInForce } from './stops.js';
export type { Stop, StopOrder, StopScope, StopState } from './stops.js';
export { listTenantKeys, rotateTenantKey } from './tenant-keys.js';
export type { TenantKey, TenantKeys } from './tenant-keys.js';
export { SERVED_STATUSES } from './served.js';
export { createWorkspace, listWorkspaces } from './workspaces.js';
export type { Workspace } from './workspaces.js';
export { latestLifecycle, requestLifecycle } from './lifecycle.js';
export type { Lifecycle, LifecycleOrder, LifecycleRequest, LifecycleStepView } from './lifecycle.js';

export interface Tenant {
  readonly id: TenantId;
  readonly name: string;
  readonly namespace: string;
  /** provisioning | active | suspended | resuming | offboarding | erasing | offboarded */
  readonly status: string;
  /** open | killed | paused | read_only | frozen: the strongest stop of the whole tenant */
  readonly controlState: string;
  /** Since when a host cannot use the tenant's key; null: all is well. */
  readonly keyUnavailableSince: Date | null;
  readonly createdAt: Date;
}

export interface Agent {
  readonly id: AgentId;
  readonly workspaceId: WorkspaceId;
  readonly name: string;
  readonly description: string;
  readonly workflowType: string;
  readonly inputSchema: Json;
  readonly enabled: boolean;
}

/** First workspace of every tenant. */
const MAIN = 'main';
const ZERO_HASH = new Uint8Array(32);

/**
 * Commits a tenant with its key, workspace `main`, journal head and a policy that allows nothing; the control process
 * then registers the namespace and sets it active. A tenant that exists is not changed.
 * @param tenant.order who wants it and why; without it the lifecycle says that the platform does.
 */
export async function createTenant(
  db: TenantDb,
  keys: TenantKeys,
  tenant: { readonly name: string; readonly order?: Omit<LifecycleRequest, 'order'> },
): Promise<{ readonly created: boolean }> {
  const id = db.tenantId;
  const place = placementOf(id);
  return db.run(async (tx) => {
    const { count } = await tx.tenant.createMany({
      data: [{ id, name: tenant.name, namespace: place.namespace, taskQueue: place.taskQueue }],
      skipDuplicates: true,
    });
    if (count === 0) return { created: false };
    const { keyId, wrapped } = keys.newTenantKey(id);
    await tx.tenantKey.create({ data: { tenantId: id, keyId, wrapped: new Uint8Array(wrapped) } });
    await tx.workspace.create({ data: { tenantId: id, id: MAIN, name: MAIN } });
    await tx.journalHead.create({ data: { tenantId: id, hash: ZERO_HASH } });
    await denyAll(tx, id);
    if (tenant.order) await orderProvision(tx, id, tenant.order);
    await tx.$executeRaw`SELECT pg_notify(${CHANNELS.tenants}, ${id})`;
    return { created: true };
  });
}

async function denyAll(tx: TenantClient, tenantId: TenantId): Promise<void> {
  const first = {
    tenantId,
    profile: 'default',
    document: { rules: [] },
    publishedBy: 'platform',
    reason: 'A new tenant may do nothing until a policy says so.',
  };
  await tx.$executeRaw`SELECT publish_policy(${JSON.stringify(first)}::jsonb)`;
}

/** @throws BulkheadError NOT_FOUND when the tenant does not exist. */
export async function getTenant(db: TenantDb): Promise<Tenant> {
  const [row] = await db.run(
    (tx) => tx.$queryRaw<
      Tenant[]
    >`SELECT id, name, namespace, status, shown_control_state(t) AS "controlState",
      key_unavailable_since(t.id) AS "keyUnavailableSince", created_at AS "createdAt" FROM tenants t WHERE id = app_tenant()`,
  );
  if (!row) throw new BulkheadError('NOT_FOUND');
  return row;
}

/** Creates an agent, or changes one to what is given. */
export async function putAgent(
  db: TenantDb,
  agent: {
    readonly id: AgentId;
    readonly workspaceId: WorkspaceId;
    readonly name: string;
    readonly description: string;
    readonly workflowType: string;
    /** `default` unless given. */
    readonly policyProfile?: string;
    /** `standard` unless given. */
    readonly quotaClass?: string;
    /** JSON Schema (draft 2020-12) of the input that a run of this agent takes. */
    readonly inputSchema: Json;
  },
): Promise<void> {
  const { id, name, description, workflowType } = agent;
  const data = {
    name,
    description,
    workflowType,
    inputSchema: agent.inputSchema as object,
    workspaceId: agent.workspaceId,
    policyProfile: agent.policyProfile ?? 'default',
    quotaClass: agent.quotaClass ?? 'standard',
  };
  await db.run((tx) =>
    tx.agent.upsert({
      where: { tenantId_id: { tenantId: db.tenantId, id } },
      create: { tenantId: db.tenantId, id, ...data },
      update: data,
    }),
  );
}

/** The tenant's agents within reach, by id; at most 200. */
export async function listAgents(db: TenantDb, within: Prisma.AgentWhereInput): Promise<Agent[]> {
  const rows = await db.run((tx) => tx.agent.findMany({ where: within, orderBy: { id: 'asc' }, take: 200 }));
  return rows.map((row) => ({
    id: row.id as AgentId,
    workspaceId: row.workspaceId as WorkspaceId,
    name: row.name,
    description: row.description,
    workflowType: row.workflowType,
    inputSchema: row.inputSchema as Json,
    enabled: row.enabled,
  }));
}
