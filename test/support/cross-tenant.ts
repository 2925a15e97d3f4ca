import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { buildSchema } from 'graphql';
import {
  agentId,
  buildApprovalId,
  buildInvitationId,
  buildRevocationId,
  buildStopId,
  toolId,
  workspaceId,
} from '@bulkhead/contract';
import { PURPOSES } from '@bulkhead/runtime/keys';
import { revokeSecrets, storeSecret } from '@bulkhead/secret-broker/admin';
import { createApiKey, invite, personId, putAgent, stopCalls } from '@bulkhead/tenancy/admin';
import { putTool } from '@bulkhead/tool-gateway/admin';
import { ACME, field } from './api.js';
import type { TestApi } from './api.js';
import { tenantTables } from './catalog.js';
import { rootFields } from './schema-walk.js';
import type { RootField, Slot } from './schema-walk.js';

/** In every text of the victim that an answer could contain. */
export const CANARY = 'canary-7f3d';

/** What a slot names. A slot of a kind that is not here has no attack yet, and the proof says so. */
export type IdKind =
  | 'run'
  | 'stop'
  | 'secret'
  | 'revocation'
  | 'approval'
  | 'agent'
  | 'tool'
  | 'tenant'
  | 'workspace'
  | 'key'
  | 'member'
  | 'invitation'
  | 'free';

/**
 * A name that the caller gives to something new of their own, which is then shown to them: it may be called like the
 * victim's. That the victim's is not touched is tested where it is made.
 */
const OWN_NAME = 'own name';

/** Which kind of id each slot takes. A new argument or input field of the API needs a line here. */
const CASES: Readonly<Record<string, IdKind | typeof OWN_NAME>> = {
  'Query.run(id)': 'run',
  'Query.tenant(id)': 'tenant',
  'Mutation.createTenant(id)': 'tenant',
  'Mutation.suspendTenant(id)': 'tenant',
  'Mutation.resumeTenant(id)': 'tenant',
  'Mutation.offboardTenant(id)': 'tenant',
  'Mutation.reinstateTenant(id)': 'tenant',
  'Mutation.grantQuota(id)': 'tenant',
  'Query.tenantQuotas(id)': 'tenant',
  'Query.runs(after)': 'run',
  'Query.approvals(after)': 'approval',
  'Mutation.approve(id)': 'approval',
  'Query.agentTools(agentId)': 'agent',
  'Mutation.registerTool(id)': OWN_NAME,
  'Mutation.updateTool(id)': 'tool',
  'Mutation.enableTool(id)': 'tool',
  'Mutation.disableTool(id)': 'tool',
  'Mutation.approveToolOffer(id)': 'tool',
  'Mutation.reject(id)': 'approval',
  'Mutation.startRun(input.agentId)': 'agent',
  'Mutation.startRun(input.idempotencyKey)': 'free',
  'Mutation.cancelRun(id)': 'run',
  'Mutation.cancelRun(idempotencyKey)': 'free',
  'Mutation.terminateRun(id)': 'run',
  'Mutation.terminateRun(idempotencyKey)': 'free',
  'Mutation.signalRun(id)': 'run',
  'Mutation.signalRun(idempotencyKey)': 'free',
  'Mutation.resetRun(id)': 'run',
  'Mutation.resetRun(idempotencyKey)': 'free',
  'Query.members(after)': 'member',
  'Query.apiKeys(after)': 'key',
  'Query.audit(after)': 'free',
  'Mutation.inviteMember(input.workspaceId)': 'workspace',
  'Mutation.revokeInvitation(id)': 'invitation',
  'Mutation.changeRole(input.memberId)': 'member',
  'Mutation.changeRole(input.workspaceId)': 'workspace',
  'Mutation.removeMember(memberId)': 'member',
  'Mutation.createApiKey(input.workspaceId)': 'workspace',
  'Mutation.revokeApiKey(prefix)': 'key',
  'Mutation.createWorkspace(input.id)': OWN_NAME,
  'Mutation.stopCalls(target)': 'agent',
  'Mutation.resumeCalls(id)': 'stop',
  'Query.policy(profile)': OWN_NAME,
  'Query.policyDiff(profile)': OWN_NAME,
  'Query.policyHistory(profile)': OWN_NAME,
  'Mutation.savePolicyDraft(input.profile)': OWN_NAME,
  'Mutation.discardPolicyDraft(profile)': OWN_NAME,
  'Mutation.publishPolicyDraft(input.profile)': OWN_NAME,
  'Mutation.setPolicyMode(profile)': OWN_NAME,
  'Query.explainCall(input.agentId)': 'agent',
  'Query.explainCall(input.toolId)': 'tool',
  'Query.explainCall(input.runId)': 'run',
  'Mutation.createSecret(name)': OWN_NAME,
  'Mutation.rotateSecret(name)': 'secret',
  'Mutation.changeSecret(name)': 'secret',
  'Mutation.revokeSecrets(secret)': 'secret',
  'Mutation.revokeSecrets(target)': 'agent',
  'Mutation.liftRevocation(id)': 'revocation',
  'Subscription.runChanged(id)': 'run',
};

export interface Matrix {
  readonly fields: readonly RootField[];
  /** Slots without a case. */
  readonly uncovered: readonly Slot[];
  kindOf(slot: Slot): IdKind;
  /** Whether the slot takes the ids of others. */
  attacked(slot: Slot): boolean;
}

/** Walks the committed schema. */
export async function crossTenantMatrix(): Promise<Matrix> {
  const sdl = await readFile(new URL('../../apps/api/schema.gql', import.meta.url), 'utf8');
  const fields = rootFields(buildSchema(sdl));
  const slots = fields.flatMap((root) => root.slots);
  return {
    fields,
    uncovered: slots.filter((slot) => !Object.hasOwn(CASES, slot.name)),
    kindOf: (slot) => {
      const kind = CASES[slot.name];
      return kind === undefined || kind === OWN_NAME ? 'free' : kind;
    },
    attacked: (slot) => CASES[slot.name] !== OWN_NAME,
  };
}

/** One thing of each kind that belongs to the victim. */
export type VictimIds = Readonly<Record<IdKind, string>>;

const ULID_ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
export const randomUlid = (): string =>
  `0${Array.from(randomBytes(25), (byte) => ULID_ALPHABET[byte % 32]).join('')}`;

/** A tenant with a run, an approval, an agent, a tool, a workspace, a key, a member and an invitation, all marked. */
export async function furnishVictim(api: TestApi): Promise<VictimIds> {
  const db = api.deps.door.tenant(ACME);
  const agent = `${CANARY}-agent`;
  const tool = 'canary.secret.tool';
  await db.run((tx) => tx.workspace.create({ data: { tenantId: ACME, id: CANARY, name: CANARY } }));
  await api.database.asOwner('UPDATE tenants SET name = $1 WHERE id = $2', [`${CANARY} Inc.`, ACME]);
  await putAgent(db, {
    id: agentId(agent),
    workspaceId: workspaceId('main'),
    name: CANARY,
    description: CANARY,
    workflowType: 'supportTriage',
    inputSchema: { type: 'object' },
  });
  await putTool(db, toolId(tool), {
    adapter: 'http',
    description: CANARY,
    inputSchema: { type: 'object', properties: {}, additionalProperties: false },
    url: 'http://127.0.0.1:9/x',
    method: 'GET',
    effect: 'read',
    idempotency: 'natural',
  });
  const { key } = await createApiKey(db, { name: CANARY, role: 'admin' });
  const started = await api.ask(key, 'mutation ($input: StartRunInput!) { startRun(input: $input) { id } }', {
    input: { agentId: agent, idempotencyKey: CANARY, input: { note: CANARY } },
  });
  const run = field<{ id: string }>(started, 'startRun').id;
  const approval = buildApprovalId(ACME, randomUlid());
  const facts = JSON.stringify({ facts: { tool, args: { note: CANARY } } });
  const request = await api.keyRing.seal(ACME, PURPOSES.effectRequest, Buffer.from(facts));
  await api.database.asOwner(
    `INSERT INTO approvals (tenant_id, id, run_id, key, digest, tool_id, tool_version, target, rule, approvers, request, requested_by, expires_at)
     VALUES ('acme', $1, $2, $1, '\\x00', $3, 1, $4, 'ask', '{admin}', $5, 'key:nobody', now() + interval '1 day')`,
    [approval, run, tool, CANARY, request],
  );
  const member = personId('https://victim.example', CANARY);
  await api.database.asOwner(
    `INSERT INTO members (tenant_id, id, issuer, subject, email, name, role, created_by)
     VALUES ('acme', $1, 'https://victim.example', $2, $2, $2, 'admin', $2)`,
    [member, CANARY],
  );
  const { invitation } = await invite(db, {
    id: buildInvitationId(ACME, randomUlid()),
    role: 'admin',
    email: `${CANARY}@victim.example`,
    expiresAt: new Date(Date.now() + 86_400_000),
    by: { actor: CANARY, responsible: CANARY },
  });
  const stop = buildStopId(ACME, randomUlid());
  await stopCalls(db, {
    id: stop,
    scope: 'agent',
    target: agent,
    state: 'paused',
    end: false,
    reason: CANARY,
    actor: CANARY,
  });
  await storeSecret(db, api.keyRing, {
    name: CANARY,
    access: 'read',
    boundHost: CANARY,
    value: `${CANARY}-value`,
  });
  const revocation = buildRevocationId(ACME, randomUlid());
  await revokeSecrets(db, {
    id: revocation,
    scope: 'agent',
    secret: undefined,
    version: undefined,
    target: agent,
    dryRun: false,
    reason: CANARY,
    actor: CANARY,
    boundMs: 0,
  });
  return {
    run,
    stop,
    secret: CANARY,
    revocation,
    approval,
    agent,
    tool,
    tenant: ACME,
    workspace: CANARY,
    key: key.slice(4, 12),
    member,
    invitation: invitation.id,
    free: CANARY,
  };
}

/** Everything of the victim in the database, as one text. */
export async function victimState(api: TestApi): Promise<string> {
  const sql = <Row>(text: string, values?: unknown[]): Promise<Row[]> =>
    api.database.asOwner(text, values) as Promise<Row[]>;
  const prints: string[] = [];
  for (const { name, tenantColumn } of await tenantTables(sql)) {
    const [row] = await sql<{ print: string | null }>(
      `SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) AS print FROM ${name} t WHERE ${tenantColumn} = $1`,
      [ACME],
    );
    prints.push(`${name} ${row?.print ?? '-'}`);
  }
  return prints.join('\n');
}
