import type { ControlDb } from '@bulkhead/prisma/control';

const BATCH_MAX = 200;

/**
 * Mostly those whose time is up. The close watch ends those of a run with the run; what an admit asked for at that very moment
 * is found here. A decision that is being made has the row: it is skipped, and if it came to nothing found the next time.
 */
const END = `
  WITH due AS (
    SELECT a.tenant_id, a.id, CASE WHEN a.expires_at <= now() THEN 'expired' ELSE 'void' END AS state
      FROM approvals a JOIN tenants t ON t.id = a.tenant_id AND t.status NOT IN ('erasing', 'offboarded')
      LEFT JOIN runs r ON r.tenant_id = a.tenant_id AND r.id = a.run_id
     WHERE a.state = 'pending' AND (a.expires_at <= now() OR r.finished_at IS NOT NULL)
     ORDER BY a.expires_at LIMIT ${BATCH_MAX} FOR UPDATE OF a SKIP LOCKED
  ), ended AS (
    UPDATE approvals a SET state = due.state FROM due WHERE a.tenant_id = due.tenant_id AND a.id = due.id AND a.state = 'pending'
    RETURNING a.tenant_id, a.run_id, a.key, a.id, a.state
  )
  INSERT INTO journal_records (tenant_id, kind, run_id, key, body)
  SELECT tenant_id, 'approval', run_id, key, jsonb_build_object('approvalId', id, 'state', state, 'by', 'control') FROM ended
  RETURNING id`;

/**
 * Ends approvals that nobody can use any more, at most 200 at once: expired, or left by a run that ended. Each has its record.
 * Returns how many. @throws BulkheadError DATABASE_UNAVAILABLE
 */
export async function endApprovals(control: Pick<ControlDb, 'query'>): Promise<number> {
  return (await control.query(END)).length;
}
