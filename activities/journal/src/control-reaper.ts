import type { ControlDb } from '@bulkhead/prisma/control';

/** Nobody acts for a run that has ended, so what it left open needs time only for a settle that is on its way. */
const ENDED_RUN_SECONDS = 10;
/**
 * A live run asks again within seconds, and a tool that honours keys gives it the answer that was lost: closing is for
 * calls that nobody comes back to, for example because the code of their run is no longer deployed.
 */
const LIVE_RUN_SECONDS = 900;
const BATCH_MAX = 200;

/**
 * Past its deadline and its margin, and with nobody left who may send or settle: its holder is fenced, is unknown, or has
 * said itself that its attempt ended. The row lock makes the judgement hold: another attempt that takes the effect over
 * changes its holder and deadline, a settle its state, and either is seen here before anything is written.
 */
const REAP = `
  WITH due AS (
    SELECT e.tenant_id, e.key FROM effects e JOIN runs r ON r.tenant_id = e.tenant_id AND r.id = e.run_id
     WHERE e.state = 'open'
       AND e.deadline_at < now() - make_interval(secs => CASE WHEN r.finished_at IS NULL THEN $1::float8 ELSE $2::float8 END)
       AND (e.holder_ended OR NOT EXISTS (SELECT FROM hosts h WHERE h.id = e.holder_host AND NOT h.fenced))
     ORDER BY e.deadline_at LIMIT ${BATCH_MAX} FOR UPDATE OF e SKIP LOCKED
  ), reaped AS (
    UPDATE effects e SET state = 'closed', outcome = 'indeterminate', holder_ended = true, closed_at = now()
      FROM due d WHERE e.tenant_id = d.tenant_id AND e.key = d.key
    RETURNING e.tenant_id, e.key, e.run_id, e.holder_host, e.cost_micros
  )
  INSERT INTO journal_records (tenant_id, kind, run_id, key, body)
  SELECT tenant_id, 'close', run_id, key, jsonb_build_object('outcome', 'indeterminate', 'by', 'reaper', 'holder', holder_host,
         'resultDigest', encode(sha256(''::bytea), 'hex'))
         || CASE WHEN cost_micros > 0 THEN jsonb_build_object('costMicros', cost_micros) ELSE '{}' END
    FROM reaped RETURNING tenant_id, run_id, key`;

export interface Reaped {
  readonly tenantId: string;
  readonly runId: string;
  readonly key: string;
}

export interface Reaper {
  /**
   * Closes what nobody will settle any more as `indeterminate`, at most 200 effects at once. The reservation is kept in
   * full: the request may have been sent, and what may have happened is paid for.
   * @throws BulkheadError DATABASE_UNAVAILABLE
   */
  reapOnce(): Promise<readonly Reaped[]>;
}

export interface ReaperDeps {
  readonly control: Pick<ControlDb, 'query'>;
  readonly log: { warn(fields: object, message: string): void };
  /** Seconds past an effect's deadline; the defaults are 900 while its run lives and 10 once it has ended. */
  readonly marginSeconds?: { readonly liveRun: number; readonly endedRun: number };
}

/** The last one to look at an effect: without it, one whose host and run are both gone would stay open for ever. */
export function createReaper({ control, log, marginSeconds }: ReaperDeps): Reaper {
  const { liveRun, endedRun } = marginSeconds ?? {
    liveRun: LIVE_RUN_SECONDS,
    endedRun: ENDED_RUN_SECONDS,
  };
  return {
    async reapOnce() {
      const rows = await control.query<{ tenant_id: string; run_id: string; key: string }>(REAP, [
        liveRun,
        endedRun,
      ]);
      return rows.map(({ tenant_id: tenantId, run_id: runId, key }) => {
        log.warn({ tenantId, runId, key }, 'an effect that nobody settles was closed as indeterminate');
        return { tenantId, runId, key };
      });
    },
  };
}
