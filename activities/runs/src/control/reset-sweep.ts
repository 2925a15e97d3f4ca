import type { RunId, TenantId } from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';
import { NOTIFY, nameOf } from './told.js';
import type { ControlLog, RunsInTemporal } from './temporal-port.js';

/** Tenants that are compared in one sweep; the next sweep takes the next ones. */
const SWEPT_TENANTS_MAX = 20;
/** What closed while no control process was there is looked for this far back. */
const FIRST_LOOK_MS = 24 * 3_600_000;
/** Lists lag, and clocks differ: each look goes back behind the one before. */
const OVERLAP_MS = 60_000;

const ENDED = `
  SELECT id AS "runId", closed_execution AS execution FROM runs WHERE tenant_id = $1 AND id = ANY($2) AND finished_at IS NOT NULL`;

const REOPEN = `
  WITH moved AS (
    UPDATE runs SET state = 'running', result = NULL, reason = NULL, finished_at = NULL
     WHERE tenant_id = $1 AND id = $2 AND finished_at IS NOT NULL RETURNING id
  ), record AS (
    INSERT INTO journal_records (tenant_id, kind, run_id, body)
    SELECT $1, 'run', $2, jsonb_build_object('state', 'running', 'reason', jsonb_build_object('message', 'The run was opened again.')) FROM moved
  ) ${NOTIFY}`;

export interface ResetSweepDeps {
  readonly control: Pick<ControlDb, 'query'>;
  readonly temporal: Pick<RunsInTemporal, 'executions' | 'latest'>;
  readonly log: ControlLog;
  readonly now: () => Date;
}

export interface ResetSweep {
  /**
   * Reopens runs that ended here and of which Temporal has a later execution: somebody reset them there. It may have ended
   * again meanwhile; the close watch sees that as it sees every end. Call it every few seconds. Returns how many.
   */
  sweepOnce(): Promise<number>;
}

/** Looks for what the close watch cannot see: nobody waits for the end of a run that has ended. */
export function createResetSweep({ control, temporal, log, now }: ResetSweepDeps): ResetSweep {
  const lookedAt = new Map<TenantId, number>();
  let sweptTo: TenantId | '' = '';

  const reopenOf = async (tenantId: TenantId): Promise<number> => {
    const startedAt = now().getTime();
    const since = new Date((lookedAt.get(tenantId) ?? startedAt - FIRST_LOOK_MS) - OVERLAP_MS);
    const listed = await temporal.executions(tenantId, since);
    const ids = [...new Set(listed.map(({ runId }) => runId))];
    const ended = await control.query<{ runId: RunId; execution: string | null }>(ENDED, [tenantId, ids]);
    let reopened = 0;
    let failed = false;
    for (const { runId, execution } of ended) {
      if (!listed.some((one) => one.runId === runId && isOther(one, execution))) continue;
      try {
        // the list lags, and has what a reset ended: only the run itself can say what its last execution is
        const last = await temporal.latest({ tenantId, runId });
        if (!last || !isOther(last, execution)) continue;
        await control.query(REOPEN, [tenantId, runId]);
        log.info({ tenantId, runId }, 'run is open again');
        reopened += 1;
      } catch (error) {
        // it must not hide the resets of the others; it is looked at again with the same list
        failed = true;
        log.warn({ tenantId, runId, fault: nameOf(error) }, 'cannot look at a run');
      }
    }
    if (!failed) lookedAt.set(tenantId, startedAt);
    return reopened;
  };

  return {
    async sweepOnce() {
      const tenants = await control.query<{ id: TenantId }>(
        `SELECT id FROM tenants WHERE status = 'active' AND id > $1 ORDER BY id LIMIT ${SWEPT_TENANTS_MAX}`,
        [sweptTo],
      );
      sweptTo = tenants.length < SWEPT_TENANTS_MAX ? '' : (tenants.at(-1)?.id ?? '');
      let reopened = 0;
      for (const { id } of tenants) {
        try {
          reopened += await reopenOf(id);
        } catch (error) {
          // one tenant's namespace that does not answer must not hide the others' resets
          log.warn({ tenantId: id, fault: nameOf(error) }, 'cannot sweep a tenant');
        }
      }
      return reopened;
    },
  };
}

/** Not the one that the run ended with. Of a run that ended before that was written down only an open one says so. */
const isOther = (
  one: { readonly execution: string; readonly open: boolean },
  ended: string | null,
): boolean => one.open || (ended !== null && one.execution !== ended);
