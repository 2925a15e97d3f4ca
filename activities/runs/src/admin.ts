import { createHash } from 'node:crypto';
import { z } from 'zod';
import { BulkheadError, buildRunId } from '@bulkhead/contract';
import type {
  AgentId,
  AgentStart,
  Envelope,
  Json,
  RunId,
  SealArguments,
  SignedEnvelope,
  WorkspaceId,
} from '@bulkhead/contract';
import type { TenantDb } from '@bulkhead/prisma/tenant';
import { createInputCheck } from './input-check.js';

export { findRun, listRuns } from './run-reads.js';
export type { Page, Run, RunPage } from './run-reads.js';
export { listRunRequests, requestRun } from './run-requests.js';
export type { ResetPoint, RunAction, RunOrder, RunRequestKind, RunRequestView } from './run-requests.js';

export interface RunRequest {
  readonly agentId: AgentId;
  /** The same key in the same workspace with the same agent and input gives the same run; with others it is a conflict. */
  readonly idempotencyKey: string;
  readonly input: Json;
  /** `key:<prefix>` or `user:<subject>`. */
  readonly actor: string;
  /** Workspaces in which the actor may start runs; undefined: all. */
  readonly workspaces?: readonly string[] | undefined;
}

export interface RunDeps {
  readonly signEnvelope: (envelope: Envelope) => Promise<SignedEnvelope> | SignedEnvelope;
  /** Seals what the workflow is started with: it is stored and sent only in this form. */
  readonly sealArguments: SealArguments;
  /** A fresh ULID, lower case. */
  readonly newUlid: () => string;
  readonly now: () => Date;
}

export type AcceptRun = (db: TenantDb, request: RunRequest) => Promise<{ runId: RunId; created: boolean }>;

const Accepted = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('accepted'), runId: z.string(), created: z.boolean() }),
  z.object({ kind: z.literal('conflict'), runId: z.string() }),
]);

/**
 * acceptRun commits the run, its start order and its journal record in one transaction and answers; the control process
 * starts the workflow. So a Temporal outage loses nothing, and a lost answer is repaired by asking again.
 * @throws BulkheadError NOT_FOUND (no such agent), BAD_INPUT, PAYLOAD_TOO_LARGE, IDEMPOTENCY_CONFLICT
 */
export function createAcceptRun(deps: RunDeps): AcceptRun {
  const checkInput = createInputCheck();
  return async (db, request) => {
    const { tenantId } = db;
    const agent = await db.run((tx) =>
      tx.agent.findUnique({ where: { tenantId_id: { tenantId, id: request.agentId } } }),
    );
    const within = request.workspaces?.includes(agent?.workspaceId ?? '') ?? true;
    if (!agent?.enabled || !within) {
      throw new BulkheadError('NOT_FOUND', { field: 'agentId', publicMessage: 'There is no such agent.' });
    }
    const text = checkInput(agent.inputSchema as Json, request.input);
    const id = buildRunId(tenantId, deps.newUlid());
    const envelope = await deps.signEnvelope({
      v: 1,
      tenantId,
      workspaceId: agent.workspaceId as WorkspaceId,
      agentId: request.agentId,
      runId: id,
      policyProfile: agent.policyProfile,
      quotaClass: agent.quotaClass,
      actor: request.actor,
      issuedAt: Math.floor(deps.now().getTime() / 1000),
    });
    const [start] = await deps.sealArguments(tenantId, [
      { input: request.input, segment: 0 } satisfies AgentStart,
    ]);
    if (!start) throw new BulkheadError('INTERNAL', { internal: 'nothing was sealed' });
    const answer = await db.call('accept_run', {
      id,
      workspaceId: agent.workspaceId,
      agentId: request.agentId,
      workflowType: agent.workflowType,
      idempotencyKey: request.idempotencyKey,
      // agent ids have no line break, so the two parts cannot be shifted into each other
      inputDigest: createHash('sha256').update(`${request.agentId}\n${text}`).digest('hex'),
      input: start,
      envelope,
      actor: request.actor,
    });
    const accepted = Accepted.parse(answer);
    if (accepted.kind === 'conflict') {
      throw new BulkheadError('IDEMPOTENCY_CONFLICT', { field: 'idempotencyKey' });
    }
    return { runId: accepted.runId as RunId, created: accepted.created };
  };
}
