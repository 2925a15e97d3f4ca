import { createHash } from 'node:crypto';
import { z } from 'zod';
import { BulkheadError, buildRunId, parseRunId, RUN_STATES } from '@bulkhead/contract';
import type {
  AgentId,
  AgentStart,
  Envelope,
  Json,
  Reason,
  RunId,
  RunState,
  SealArguments,
  SignedEnvelope,
  WorkspaceId,
} from '@bulkhead/contract';
import type { Prisma, TenantDb } from '@bulkhead/prisma/tenant';
import { createInputCheck } from './input-check.js';

export { listRunRequests, requestRun } from './run-requests.js';
export type { ResetPoint, RunAction, RunOrder, RunRequestKind, RunRequestView } from './run-requests.js';

/** A run as its tenant sees it. */
export interface Run {
  readonly id: RunId;
  readonly agentId: AgentId;
  readonly state: RunState;
  readonly reason: Reason | undefined;
  /** Sealed AgentStart, as it went to Temporal. */
  readonly start: Json;
  /** Sealed; null while there is none. */
  readonly result: Json;
  readonly actor: string;
  readonly createdAt: Date;
  readonly startedAt: Date | undefined;
  readonly finishedAt: Date | undefined;
}

export interface RunRequest {
  readonly agentId: AgentId;
  /** The same key with the same agent and input gives the same run; with others it is a conflict. */
  readonly idempotencyKey: string;
  readonly input: Json;
  /** `key:<prefix>` or `user:<subject>`. */
  readonly actor: string;
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
    if (!agent?.enabled) {
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

/** undefined when this tenant has no such run; another tenant's id is not even looked up. */
export async function findRun(db: TenantDb, id: string): Promise<Run | undefined> {
  const { tenantId } = db;
  if (parseRunId(id)?.tenantId !== tenantId) return undefined;
  const row = await db.run((tx) => tx.run.findUnique({ where: { tenantId_id: { tenantId, id } } }));
  return row ? runOf(row) : undefined;
}

export interface Page<T> {
  readonly nodes: readonly T[];
  /** Give it as `after` to get the next page; undefined when this is the last. */
  readonly endCursor: string | undefined;
}

/**
 * Runs, newest first, at most `first` (1 to 100). Ids carry a ULID, so they order by time and serve as the cursor.
 * @throws BulkheadError BAD_INPUT when `after` is not a cursor of this tenant.
 */
export async function listRuns(
  db: TenantDb,
  page: {
    readonly first: number;
    readonly after?: string | undefined;
    readonly state?: RunState | undefined;
  },
): Promise<Page<Run>> {
  const { tenantId } = db;
  if (page.after !== undefined && parseRunId(page.after)?.tenantId !== tenantId) {
    throw new BulkheadError('BAD_INPUT', { field: 'after', publicMessage: 'after is not a cursor.' });
  }
  const rows = await db.run((tx) =>
    tx.run.findMany({
      where: {
        tenantId,
        ...(page.after === undefined ? {} : { id: { lt: page.after } }),
        ...(page.state === undefined ? {} : { state: page.state }),
      },
      orderBy: { id: 'desc' },
      take: page.first + 1,
    }),
  );
  const nodes = rows.slice(0, page.first).map(runOf);
  return { nodes, endCursor: rows.length > page.first ? nodes.at(-1)?.id : undefined };
}

function runOf(row: Prisma.RunGetPayload<object>): Run {
  return {
    id: row.id as RunId,
    agentId: row.agentId as AgentId,
    state: stateOf(row.state),
    reason: (row.reason ?? undefined) as Reason | undefined,
    start: row.input as Json,
    result: row.result as Json,
    actor: row.actor,
    createdAt: row.createdAt,
    startedAt: row.startedAt ?? undefined,
    finishedAt: row.finishedAt ?? undefined,
  };
}

function stateOf(text: string): RunState {
  const state = RUN_STATES.find((known) => known === text);
  if (!state) throw new BulkheadError('INTERNAL', { internal: `a run has the unknown state ${text}` });
  return state;
}
