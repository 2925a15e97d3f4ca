import { BulkheadError, parseRunId, RUN_STATES } from '@bulkhead/contract';
import type { AgentId, Json, Reason, RunId, RunState } from '@bulkhead/contract';
import type { ReadStatement, TenantDb } from '@bulkhead/prisma/tenant';

/** A run as its tenant sees it. */
export interface Run {
  readonly id: RunId;
  readonly workspaceId: string;
  readonly agentId: AgentId;
  readonly state: RunState;
  readonly reason: Reason | undefined;
  /** Sealed AgentStart, as it went to Temporal; null once it is removed. */
  readonly start: Json;
  /** Sealed; null while there is none. */
  readonly result: Json;
  readonly actor: string;
  readonly createdAt: Date;
  readonly startedAt: Date | undefined;
  readonly finishedAt: Date | undefined;
  /** Since when the arguments of its calls are gone, as its policy says; a run that was reset may have newer ones. */
  readonly argumentsRemovedAt: Date | undefined;
  /** The same for the answers of its calls; such a run cannot be reset. */
  readonly answersRemovedAt: Date | undefined;
  /** The same for what it was started with and gave back. */
  readonly contentRemovedAt: Date | undefined;
}

export interface Page<T> {
  readonly nodes: readonly T[];
  /** Give it as `after` to get the next page; undefined when this is the last. */
  readonly endCursor: string | undefined;
}

export interface RunPage {
  /** 1 to 100 */
  readonly first: number;
  readonly after?: string | undefined;
  readonly state?: RunState | undefined;
  /** Only runs of these workspaces; undefined: of all. */
  readonly workspaces?: readonly string[] | undefined;
}

interface RunRow {
  readonly id: string;
  readonly workspace_id: string;
  readonly agent_id: string;
  readonly state: string;
  readonly reason: Reason | null;
  readonly input: Json;
  readonly result: Json;
  readonly actor: string;
  readonly created_at: Date;
  readonly started_at: Date | null;
  readonly finished_at: Date | null;
  readonly arguments_removed_at: Date | null;
  readonly answers_removed_at: Date | null;
  readonly content_removed_at: Date | null;
  readonly key_lost: Date | null;
}

const COLUMNS =
  'id, workspace_id, agent_id, state, reason, input, result, actor, created_at, started_at, finished_at, ' +
  'arguments_removed_at, answers_removed_at, content_removed_at, ' +
  'CASE WHEN finished_at IS NULL THEN key_unavailable_since($1) END AS key_lost';
const FIND: ReadStatement = {
  name: 'find_run',
  text: `SELECT ${COLUMNS} FROM runs WHERE tenant_id = $1 AND id = $2`,
};
/** Two texts, because a cursor that may be absent would hide the index from the planner. */
const LIST = {
  newest: listStatement('list_runs', ''),
  after: listStatement('list_runs_after', 'AND id < $5'),
};

function listStatement(name: string, cursor: string): ReadStatement {
  const text = `SELECT ${COLUMNS} FROM runs WHERE tenant_id = $1 ${cursor}
     AND ($2::text IS NULL OR state = $2) AND ($3::text[] IS NULL OR workspace_id = ANY ($3))
   ORDER BY id DESC LIMIT $4`;
  return { name, text };
}

/** undefined when this tenant has no such run; another tenant's id is not even looked up. */
export async function findRun(db: TenantDb, id: string): Promise<Run | undefined> {
  const { tenantId } = db;
  if (parseRunId(id)?.tenantId !== tenantId) return undefined;
  const [row] = await db.read<RunRow>(FIND, [tenantId, id]);
  return row && runOf(row);
}

/**
 * Runs, newest first. Ids carry a ULID, so they order by time and serve as the cursor.
 * @throws BulkheadError BAD_INPUT when `after` is not a cursor of this tenant.
 */
export async function listRuns(db: TenantDb, page: RunPage): Promise<Page<Run>> {
  const { tenantId } = db;
  const { first, after, state, workspaces } = page;
  if (after !== undefined && parseRunId(after)?.tenantId !== tenantId) {
    throw new BulkheadError('BAD_INPUT', { field: 'after', publicMessage: 'after is not a cursor.' });
  }
  const values = [tenantId, state ?? null, workspaces ?? null, first + 1];
  const rows = await (after === undefined
    ? db.read<RunRow>(LIST.newest, values)
    : db.read<RunRow>(LIST.after, [...values, after]));
  const nodes = rows.slice(0, first).map(runOf);
  return { nodes, endCursor: rows.length > first ? nodes.at(-1)?.id : undefined };
}

function runOf(row: RunRow): Run {
  return {
    id: row.id as RunId,
    workspaceId: row.workspace_id,
    agentId: row.agent_id as AgentId,
    state: stateOf(row.state),
    reason: row.key_lost ? keyLost(row.key_lost) : (row.reason ?? undefined),
    start: row.input,
    result: row.result,
    actor: row.actor,
    createdAt: row.created_at,
    startedAt: row.started_at ?? undefined,
    finishedAt: row.finished_at ?? undefined,
    argumentsRemovedAt: row.arguments_removed_at ?? undefined,
    answersRemovedAt: row.answers_removed_at ?? undefined,
    contentRemovedAt: row.content_removed_at ?? undefined,
  };
}

/** Over whatever it waits for besides: nothing of it goes on before. */
const keyLost = (since: Date): Reason => ({
  message: `The tenant's key cannot be used on a host since ${since.toISOString()}. Nothing was lost; runs go on when it is back.`,
  layer: 'keys',
});

function stateOf(text: string): RunState {
  const state = RUN_STATES.find((known) => known === text);
  if (!state) throw new BulkheadError('INTERNAL', { internal: `a run has the unknown state ${text}` });
  return state;
}
