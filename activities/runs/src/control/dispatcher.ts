import { BulkheadError, sealedPayloadOf } from '@bulkhead/contract';
import type { Json, RunId, SealedPayload, TenantId } from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';
import { NotStartedYet } from './not-started.js';
import { createRequestDelivery, REQUEST_KINDS } from './request-delivery.js';
import type { RequestKind } from './request-delivery.js';
import type { ControlLog, RunControlInTemporal, RunRef, RunsInTemporal, RunStart } from './temporal-port.js';

interface OutboxRow {
  readonly tenant_id: TenantId;
  /** bigint, which pg hands over as text. */
  readonly id: string;
  readonly kind: string;
  readonly run_id: RunId;
  /** A signal's name and its sealed arguments, or the order of a request. */
  readonly payload: { readonly signal?: string; readonly args?: readonly Json[]; readonly request?: string };
  readonly attempts: number;
  readonly workflow_type: string;
  readonly workspace_id: string;
  readonly agent_id: string;
  readonly input: Json;
  readonly envelope: RunRef['envelope'];
  readonly finished: boolean;
}

/**
 * An order that a person gave for this run, or its start, stands before this one: a cancel that overtook the reset
 * before it would end the execution that the reset replaces. What only wakes waits for nothing.
 */
const WAITS = `
  o.payload ? 'request' AND EXISTS (SELECT FROM outbox e
    WHERE e.tenant_id = o.tenant_id AND e.run_id = o.run_id AND e.id < o.id AND e.delivered_at IS NULL
      AND (e.kind = 'start' OR (e.payload ? 'request' AND e.kind IN ('${REQUEST_KINDS.join("', '")}'))))`;

/**
 * Takes what is due, at most 8 entries of a tenant and 64 in all, so that one tenant's backlog delays nobody. A claim
 * is a lease: a dispatcher that dies gives its entries back after 10 s, and delivering twice does no harm.
 */
const CLAIM = `
  WITH due AS (
    SELECT x.tenant_id, x.id FROM (
      SELECT o.tenant_id, o.id, row_number() OVER (PARTITION BY o.tenant_id ORDER BY o.id) AS place
        FROM outbox o JOIN tenants t ON t.id = o.tenant_id AND t.status = 'active'
       WHERE o.delivered_at IS NULL AND o.due_at <= now() AND NOT (${WAITS})
    ) x WHERE x.place <= 8 ORDER BY x.place, x.id LIMIT 64
  ), claimed AS (
    SELECT o.tenant_id, o.id FROM outbox o JOIN due USING (tenant_id, id)
     WHERE o.delivered_at IS NULL AND o.due_at <= now() FOR UPDATE OF o SKIP LOCKED
  ), leased AS (
    UPDATE outbox o SET due_at = now() + interval '10 seconds', attempts = o.attempts + 1
      FROM claimed c WHERE o.tenant_id = c.tenant_id AND o.id = c.id
    RETURNING o.tenant_id, o.id, o.kind, o.run_id, o.payload, o.attempts
  )
  SELECT l.*, r.workflow_type, r.workspace_id, r.agent_id, r.input, r.envelope, r.finished_at IS NOT NULL AS finished
    FROM leased l JOIN runs r ON r.tenant_id = l.tenant_id AND r.id = l.run_id ORDER BY l.id`;

const DELIVERED = `UPDATE outbox SET delivered_at = now(), last_error = NULL WHERE tenant_id = $1 AND id = $2`;

const FAILED = `
  UPDATE outbox SET due_at = now() + make_interval(secs => $3::float8), last_error = $4
   WHERE tenant_id = $1 AND id = $2 AND delivered_at IS NULL`;

/** The run is Temporal's now. Its first calls may have moved its state already: that state stays. */
const STARTED = `
  WITH moved AS (
    UPDATE runs SET started_at = now(), state = CASE WHEN state IN ('accepted', 'queued') THEN 'running' ELSE state END
     WHERE tenant_id = $1 AND id = $2 AND started_at IS NULL AND finished_at IS NULL RETURNING state, reason
  ), record AS (
    INSERT INTO journal_records (tenant_id, kind, run_id, body)
    SELECT $1, 'run', $2, jsonb_build_object('state', state, 'reason', reason) FROM moved
  )
  SELECT pg_notify('bulkhead_runs', json_build_array(json_build_object('tenantId', $1::text, 'runId', $2::text))::text) FROM moved`;

const BACKOFF_SECONDS_MAX = 5;
/** Far apart: entries that nobody here understands must not take the places of a tenant's other orders. */
const UNKNOWN_KIND_SECONDS = 60;

export interface DispatcherDeps {
  readonly control: Pick<ControlDb, 'query'>;
  readonly temporal: Pick<RunsInTemporal, 'start' | 'signal'> & RunControlInTemporal;
  readonly log: ControlLog;
  /** A run was started: watch it. */
  readonly onStarted: (run: RunRef) => void;
}

export interface Dispatcher {
  /**
   * Delivers what is due: starts, signals and what people asked of runs. What Temporal does not take stays and comes
   * back, with backoff; an outage loses nothing. @throws BulkheadError DATABASE_UNAVAILABLE
   */
  dispatchOnce(): Promise<{ delivered: number; failed: number }>;
}

/** Carries what the database has promised to Temporal. */
export function createDispatcher(deps: DispatcherDeps): Dispatcher {
  const { control, temporal, log } = deps;

  const requests = createRequestDelivery(deps);

  const start = async (row: OutboxRow): Promise<void> => {
    const run = startOf(row);
    if (!row.finished) await temporal.start(run);
    await control.query(STARTED, [row.tenant_id, row.run_id]);
    if (!row.finished) deps.onStarted(run);
  };
  const signal = async (row: OutboxRow): Promise<void> => {
    const { signal, args = [], request: asked } = row.payload;
    if (asked !== undefined) return request('signal')(row);
    if (signal === undefined) throw new TypeError('an outbox signal has no name');
    const sealedArgs = args.map((value) => sealed(row, value));
    const answer = await temporal.signal(runOf(row), signal, sealedArgs);
    // it may not be started yet, or its end may not be known yet; only a run that ended needs no signal
    if (answer === 'gone' && !row.finished) throw new NotStartedYet();
  };
  const request =
    (kind: RequestKind) =>
    async (row: OutboxRow): Promise<void> => {
      const { request: id } = row.payload;
      if (id === undefined) throw new TypeError('an outbox entry names no request');
      await requests.deliver(startOf(row), id, kind, row.finished);
    };
  /** Each kind that may stand in the outbox. */
  const deliveries: Readonly<Record<'start' | RequestKind, (row: OutboxRow) => Promise<void>>> = {
    start,
    signal,
    cancel: request('cancel'),
    terminate: request('terminate'),
    reset: request('reset'),
  };
  const deliver = async (row: OutboxRow): Promise<void> => {
    if (!Object.hasOwn(deliveries, row.kind)) throw new UnknownKind();
    await deliveries[row.kind as keyof typeof deliveries](row);
  };

  const attempt = async (row: OutboxRow): Promise<boolean> => {
    const key = [row.tenant_id, row.id];
    try {
      await deliver(row);
    } catch (error) {
      const seconds =
        error instanceof UnknownKind
          ? UNKNOWN_KIND_SECONDS
          : Math.min(0.2 * 2 ** Math.min(row.attempts, 10), BACKOFF_SECONDS_MAX);
      const fault = faultOf(error);
      log.warn(
        { tenantId: row.tenant_id, runId: row.run_id, kind: row.kind, attempts: row.attempts, fault },
        'not delivered',
      );
      await control.query(FAILED, [...key, seconds, fault]);
      return false;
    }
    await control.query(DELIVERED, key);
    return true;
  };

  return {
    async dispatchOnce() {
      const rows = await control.query<OutboxRow>(CLAIM);
      const results = await Promise.all(rows.map(attempt));
      const delivered = results.filter(Boolean).length;
      return { delivered, failed: rows.length - delivered };
    },
  };
}

/** An order of a version of Bulkhead that this one does not know. */
class UnknownKind extends Error {
  override readonly name = 'UnknownKind';
}

/** Name and gRPC code of an error: its text may quote arguments, and the column is readable by the tenant's people. */
function faultOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  const cause = error.cause instanceof Error ? error.cause : error;
  const code: unknown = Reflect.get(cause, 'code');
  return [error.name, typeof code === 'number' || typeof code === 'string' ? `code ${code}` : '']
    .join(' ')
    .trim();
}

const runOf = (row: OutboxRow): RunRef => ({
  tenantId: row.tenant_id,
  runId: row.run_id,
  envelope: row.envelope,
});

const startOf = (row: OutboxRow): RunStart => ({
  ...runOf(row),
  workflowType: row.workflow_type,
  workspaceId: row.workspace_id,
  agentId: row.agent_id,
  start: sealed(row, row.input),
});

/** What is not sealed is not sent: it would stand readable in the history. */
function sealed(row: OutboxRow, value: Json): SealedPayload {
  const payload = sealedPayloadOf(row.tenant_id, value);
  if (!payload)
    throw new BulkheadError('PAYLOAD_REFUSED', { internal: `${row.run_id} has a plaintext order` });
  return payload;
}
