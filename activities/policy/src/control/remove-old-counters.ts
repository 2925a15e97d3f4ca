import type { ControlDb } from '@bulkhead/prisma/control';

const BATCH_MAX = 1_000;

/** Which windows are over is in the policies of the table; the condition here only lets the index find them. */
const REMOVE = `
  WITH old AS (
    SELECT tenant_id, profile, rule, scope, "window" FROM policy_counters WHERE "window" <> 'ever' AND "at" < now() - interval '1 day' LIMIT ${BATCH_MAX}
  ), removed AS (
    DELETE FROM policy_counters c USING old
     WHERE (c.tenant_id, c.profile, c.rule, c.scope, c."window") = (old.tenant_id, old.profile, old.rule, old.scope, old."window")
    RETURNING c."window"
  )
  SELECT count(*)::int AS removed FROM removed`;

/**
 * Removes counters of limit rules whose window was over a day ago, at most 1,000 at once, and returns how many. What counts
 * without a window stays. @throws BulkheadError DATABASE_UNAVAILABLE
 */
export async function removeOldCounters(control: Pick<ControlDb, 'query'>): Promise<number> {
  const [row] = await control.query<{ removed: number }>(REMOVE);
  return row?.removed ?? 0;
}
