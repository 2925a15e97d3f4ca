import { setTimeout as sleep } from 'node:timers/promises';
import type { RunId, TenantId } from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';
import { NOTIFY, nameOf } from './told.js';
import type { ControlLog, RunEnd, RunRef, RunsInTemporal } from './temporal-port.js';

/**
 * Runs adopted at once: each tenant's oldest first, so that one tenant with thousands of waiting runs keeps nobody else's
 * end from being seen.
 */
const WATCHED_MAX = 2_000;
const BACKOFF_MS_MAX = 10_000;

/** A run that waits for its reset is open here and may be closed in Temporal: its old end is no news. */
const BEING_RESET = `EXISTS (SELECT FROM run_requests q
  WHERE q.tenant_id = runs.tenant_id AND q.run_id = runs.id AND q.kind = 'reset' AND q.done_at IS NULL)`;

const UNFINISHED = `
  SELECT tenant_id AS "tenantId", id AS "runId", envelope FROM (
    SELECT *, row_number() OVER (PARTITION BY tenant_id ORDER BY started_at) AS place
      FROM runs WHERE started_at IS NOT NULL AND finished_at IS NULL AND NOT ${BEING_RESET}
  ) unfinished ORDER BY place, started_at LIMIT ${WATCHED_MAX}`;

/**
 * $6 is what somebody did to the run (cancel, terminate), or null. Nobody asked here since the last reset: it was done
 * from outside, and that is kept as a request of its own. What the run was still waiting for nobody can approve any more.
 */
const FINISH = `
  WITH asked AS (
    SELECT q.actor, q.reason FROM run_requests q
     WHERE q.tenant_id = $1 AND q.run_id = $2 AND q.kind = $6 AND q.origin = 'mutation' AND q.failure IS NULL
       AND q.id > coalesce((SELECT max(x.id) FROM run_requests x
         WHERE x.tenant_id = $1 AND x.run_id = $2 AND x.kind = 'reset' AND x.failure IS NULL), 0)
     ORDER BY q.id DESC LIMIT 1
  ), why AS (
    SELECT CASE WHEN $6::text IS NULL THEN $5::jsonb
      WHEN EXISTS (SELECT FROM asked) THEN (SELECT jsonb_build_object('message',
        format('The run was %s by %s: %s', CASE $6 WHEN 'cancel' THEN 'cancelled' ELSE 'terminated' END, actor, reason)) FROM asked)
      ELSE jsonb_build_object('message', format('The run was %s from outside Bulkhead.',
        CASE $6 WHEN 'cancel' THEN 'cancelled' ELSE 'terminated' END), 'layer', 'outside') END AS reason
  ), moved AS (
    UPDATE runs SET state = $3, result = $4::jsonb, reason = why.reason, finished_at = now(), closed_execution = $7 FROM why
     WHERE tenant_id = $1 AND id = $2 AND finished_at IS NULL AND NOT ${BEING_RESET} RETURNING id, runs.reason
  ), record AS (
    INSERT INTO journal_records (tenant_id, kind, run_id, body)
    SELECT $1, 'run', $2, jsonb_build_object('state', $3::text, 'reason', reason) FROM moved
  ), outside AS (
    INSERT INTO run_requests (tenant_id, run_id, kind, origin, reason, actor, done_at)
    SELECT $1, $2, $6, 'outside', '', 'temporal', now() FROM moved WHERE $6 IS NOT NULL AND NOT EXISTS (SELECT FROM asked)
    RETURNING id
  ), noticed AS (
    INSERT INTO journal_records (tenant_id, kind, run_id, body)
    SELECT $1, 'control', $2, jsonb_build_object('change', 'run_' || $6, 'state', 'outside', 'request', id::text) FROM outside
  ), unanswered AS (
    UPDATE approvals a SET state = CASE WHEN a.expires_at <= now() THEN 'expired' ELSE 'void' END FROM moved
     WHERE a.tenant_id = $1 AND a.run_id = $2 AND a.state = 'pending' RETURNING a.id, a.key, a.state
  ), ended AS (
    INSERT INTO journal_records (tenant_id, kind, run_id, key, body)
    SELECT $1, 'approval', $2, key, jsonb_build_object('approvalId', id, 'state', state, 'by', 'control') FROM unanswered
  ) ${NOTIFY}`;

/** A reset that nobody asked for here. */
const NOTE_RESET = `
  WITH moved AS (
    INSERT INTO run_requests (tenant_id, run_id, kind, origin, reason, actor, done_at, temporal_run_id)
    SELECT $1, $2, 'reset', 'outside', '', 'temporal', now(), $3 WHERE NOT EXISTS (
      SELECT FROM run_requests q WHERE q.tenant_id = $1 AND q.run_id = $2 AND q.kind = 'reset'
         AND (q.temporal_run_id = $3 OR q.done_at IS NULL))
    RETURNING id
  ), noticed AS (
    INSERT INTO journal_records (tenant_id, kind, run_id, body)
    SELECT $1, 'control', $2, jsonb_build_object('change', 'run_reset', 'state', 'outside', 'request', id::text) FROM moved
  ) ${NOTIFY}`;

export interface CloseWatcherDeps {
  readonly control: Pick<ControlDb, 'query'>;
  readonly temporal: Pick<RunsInTemporal, 'end'>;
  readonly log: ControlLog;
}

export interface CloseWatcher {
  /** Waits for this run's end from now on. */
  watch(run: RunRef): void;
  /** Watches every unfinished run that nobody watches yet. Call it about once a second. */
  adoptOnce(): Promise<number>;
  /** Ends all waiting; nothing is written afterwards. */
  stop(): Promise<void>;
}

/** The only writer of a run's end: so a terminate, a timeout or a reset from outside is seen like any other end. */
export function createCloseWatcher({ control, temporal, log }: CloseWatcherDeps): CloseWatcher {
  const watched = new Map<RunId, Promise<void>>();
  const stop = new AbortController();

  const follow = async (run: RunRef): Promise<void> => {
    for (let waitMs = 200; !stop.signal.aborted; waitMs = Math.min(waitMs * 2, BACKOFF_MS_MAX)) {
      try {
        const end = await temporal.end(run, stop.signal, async (temporalRunId) => {
          await control.query(NOTE_RESET, [run.tenantId, run.runId, temporalRunId]);
        });
        await control.query(FINISH, finishValues(run, end));
        log.info({ tenantId: run.tenantId, runId: run.runId, state: end.state }, 'run ended');
        return;
      } catch (error) {
        if (stop.signal.aborted) return;
        log.warn(
          { tenantId: run.tenantId, runId: run.runId, fault: nameOf(error) },
          'cannot see the end of a run, trying again',
        );
        await sleep(waitMs, undefined, { signal: stop.signal }).catch(() => undefined); // rejects only when stopped
      }
    }
  };

  const watch = (run: RunRef): void => {
    if (watched.has(run.runId) || stop.signal.aborted) return;
    watched.set(
      run.runId,
      follow(run).finally(() => watched.delete(run.runId)),
    );
  };

  return {
    watch,
    async adoptOnce() {
      const runs = await control.query<RunRef & { tenantId: TenantId }>(UNFINISHED);
      for (const run of runs) watch(run);
      return watched.size;
    },
    async stop() {
      stop.abort();
      await Promise.all(watched.values());
    },
  };
}

function finishValues(run: RunRef, end: RunEnd): unknown[] {
  const done = end.state === 'completed';
  return [
    run.tenantId,
    run.runId,
    end.state,
    // sealed: the tenant's API opens it when it is shown
    done ? JSON.stringify(end.result) : null,
    done ? null : JSON.stringify({ message: end.message }),
    done ? null : (end.by ?? null),
    end.execution,
  ];
}
