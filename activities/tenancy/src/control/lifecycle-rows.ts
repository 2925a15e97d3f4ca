import type {
  LifecycleKind,
  LifecycleState,
  LifecycleStart,
  LifecycleStep,
  TenantId,
} from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';

type Db = Pick<ControlDb, 'query'>;

/** A row of `lifecycles` as its steps see it. */
export interface LifecycleRow {
  readonly tenantId: TenantId;
  readonly id: string;
  readonly kind: LifecycleKind;
  readonly state: LifecycleState;
  readonly steps: readonly RecordedStep[];
  readonly statusBefore: string | null;
  readonly reinstated: boolean;
  readonly reason: string;
  readonly requestedBy: string;
}

interface RecordedStep {
  readonly name: string;
  readonly startedAt: string;
  readonly doneAt?: string;
}

const COLUMNS = `tenant_id AS "tenantId", id, kind, state, steps, status_before AS "statusBefore",
  reinstated_by IS NOT NULL AS reinstated, reason, requested_by AS "requestedBy"`;

/** @throws when there is no such row: a workflow that nobody ordered does nothing. */
export async function lifecycleRow(db: Db, { tenantId, lifecycleId }: LifecycleStart): Promise<LifecycleRow> {
  const [row] = await db.query<LifecycleRow & Record<string, unknown>>(
    `SELECT ${COLUMNS} FROM lifecycles WHERE tenant_id = $1 AND id = $2`,
    [tenantId, lifecycleId],
  );
  if (!row) throw new Error(`nobody ordered ${lifecycleId}`);
  return row;
}

export const isOver = ({ state }: LifecycleRow): boolean => state === 'completed' || state === 'reinstated';

/** Shows that the step is being done; one that begins again keeps the time of its first beginning. */
export async function showBegin(db: Db, row: LifecycleRow, step: LifecycleStep, now: Date): Promise<void> {
  if (row.steps.some(({ name }) => name === step)) return;
  await saveSteps(db, row, [...row.steps, { name: step, startedAt: now.toISOString() }]);
}

/** Shows that the step is done. `end` closes the row in the same commit. */
export async function showDone(
  db: Db,
  row: LifecycleRow,
  step: LifecycleStep,
  { now, end }: { readonly now: Date; readonly end: 'completed' | 'reinstated' | undefined },
): Promise<void> {
  const steps = row.steps.map((recorded) =>
    recorded.name === step ? { ...recorded, doneAt: now.toISOString() } : recorded,
  );
  await saveSteps(db, row, steps, end);
}

const SAVE = `
  UPDATE lifecycles SET steps = $3::jsonb, state = coalesce($4, state), finished_at = CASE WHEN $4::text IS NULL THEN NULL ELSE now() END
   WHERE tenant_id = $1 AND id = $2 AND finished_at IS NULL`;

async function saveSteps(
  db: Db,
  row: LifecycleRow,
  steps: readonly RecordedStep[],
  end?: string,
): Promise<void> {
  await db.query(SAVE, [row.tenantId, row.id, JSON.stringify(steps), end ?? null]);
}

/** What is to be told to Temporal: lifecycles that were ordered, and offboardings that were taken back. */
export interface LifecycleOrders {
  readonly ordered: readonly LifecycleStart[];
  readonly takenBack: readonly LifecycleStart[];
}

/** A tenant without an order of its own (made by an earlier version, or put back into provisioning) gets one. */
const ADOPT = `
  INSERT INTO lifecycles (tenant_id, id, kind, reason, requested_by)
  SELECT t.id, t.id || '.lifecycle.' || $1, 'provision', 'The tenant is new.', 'platform' FROM tenants t
   WHERE t.status = 'provisioning' AND NOT EXISTS (SELECT FROM lifecycles l WHERE l.tenant_id = t.id AND l.finished_at IS NULL)
  ON CONFLICT DO NOTHING`;

const PENDING = `
  SELECT tenant_id AS "tenantId", id AS "lifecycleId", kind, state = 'requested' AS ordered FROM lifecycles
   WHERE finished_at IS NULL AND (state = 'requested' OR (reinstated_by IS NOT NULL AND reinstate_told_at IS NULL))
   ORDER BY created_at LIMIT 64`;

/** @param ulid names the rows that are adopted. */
export async function pendingLifecycles(db: Db, ulid: string): Promise<LifecycleOrders> {
  await db.query(ADOPT, [ulid]);
  const rows = await db.query<LifecycleStart & { ordered: boolean } & Record<string, unknown>>(PENDING);
  const startOf = ({ tenantId, lifecycleId, kind }: LifecycleStart): LifecycleStart => ({
    tenantId,
    lifecycleId,
    kind,
  });
  return {
    ordered: rows.filter(({ ordered }) => ordered).map(startOf),
    takenBack: rows.filter(({ ordered }) => !ordered).map(startOf),
  };
}

/** The workflow runs. */
export async function showStarted(db: Db, { tenantId, lifecycleId }: LifecycleStart): Promise<void> {
  await db.query(
    "UPDATE lifecycles SET state = 'running', started_at = now() WHERE tenant_id = $1 AND id = $2 AND state = 'requested'",
    [tenantId, lifecycleId],
  );
}

/** The workflow was woken; should it miss that, the end of the grace period finds the row. */
export async function showTold(db: Db, { tenantId, lifecycleId }: LifecycleStart): Promise<void> {
  await db.query('UPDATE lifecycles SET reinstate_told_at = now() WHERE tenant_id = $1 AND id = $2', [
    tenantId,
    lifecycleId,
  ]);
}

/** Open lifecycles whose workflow should be running, oldest first: asked now and then whether it still does. */
export async function runningLifecycles(db: Db): Promise<LifecycleStart[]> {
  return db.query<LifecycleStart & Record<string, unknown>>(
    `SELECT tenant_id AS "tenantId", id AS "lifecycleId", kind FROM lifecycles
      WHERE state IN ('running', 'waiting') AND finished_at IS NULL ORDER BY created_at`,
  );
}
