import { AFTER_GRACE, LIFECYCLE_STEPS } from '@bulkhead/contract';
import type {
  LifecycleActivities,
  LifecycleStart,
  LifecycleStep,
  StepAnswer,
  TenantId,
} from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';
import { eraseRows, leaveTombstone } from './erase.js';
import { exportLines } from './export.js';
import { isOver, lifecycleRow, showBegin, showDone } from './lifecycle-rows.js';
import type { LifecycleRow } from './lifecycle-rows.js';
import { revokeTokenKeys } from './token-keys.js';

/** What the steps need from outside the database; each may be asked again and again. */
export interface LifecyclePorts {
  /** Registers the tenant's namespace and search attributes. */
  registerNamespace(tenantId: TenantId): Promise<void>;
  /** Deletes the namespace with all that is in it; one that is gone is fine. */
  deleteNamespace(tenantId: TenantId): Promise<void>;
  /** Resolves when the tenant has a key that the server accepts, and every live host a token. */
  issueTokens(tenantId: TenantId): Promise<void>;
  /** Takes the tenant's tokens away from hosts and API; hosts stop their Workers then. */
  withdrawTokens(tenantId: TenantId): Promise<void>;
  /** Resolves when the server refuses tokens of the tenant's dropped keys. */
  untilRefused(tenantId: TenantId): Promise<void>;
  /** Keeps the lines in a private file, all of it or nothing, and returns its path. */
  writeExport(lifecycleId: string, lines: AsyncIterable<string>): Promise<string>;
  /** Makes everything that is encrypted for the tenant unreadable, for good. */
  destroyKeys(tenantId: TenantId, order: { readonly actor: string; readonly reason: string }): Promise<void>;
  sleep(ms: number): Promise<void>;
  now(): Date;
}

export interface LifecycleStepsDeps extends LifecyclePorts {
  readonly control: Pick<ControlDb, 'query'>;
  readonly log: { info(fields: object, message: string): void };
}

/** Calls in flight get this long to settle before the tokens are revoked; what is left is settled when its host may again. */
const DRAIN_MS_MAX = 10_000;
const DRAIN_EVERY_MS = 250;

type Step = (row: LifecycleRow) => Promise<StepAnswer>;

/** The steps of every lifecycle. Each looks where it stands and does what is missing: it may be killed anywhere and begun again. */
export function createLifecycleSteps(deps: LifecycleStepsDeps): LifecycleActivities {
  const { control } = deps;
  const steps = stepsOf(deps);
  return {
    async lifecycleStep(start, name) {
      const row = await lifecycleRow(control, start);
      // a workflow that somebody started again after the end repeats nothing
      if (isOver(row)) return { reinstate: row.state === 'reinstated' };
      await showBegin(control, row, name, deps.now());
      const answer = await steps[name](row);
      const end = endOf(start, name);
      await showDone(control, await lifecycleRow(control, start), name, { now: deps.now(), end });
      deps.log.info({ tenantId: start.tenantId, lifecycle: start.lifecycleId, step: name }, 'lifecycle step');
      return answer;
    },
  };
}

/** Whether the lifecycle is over when this step is done. */
function endOf({ kind }: LifecycleStart, step: LifecycleStep): 'completed' | 'reinstated' | undefined {
  if (step === AFTER_GRACE.reinstate.at(-1)) return 'reinstated';
  const last = kind === 'offboard' ? AFTER_GRACE.erase.at(-1) : LIFECYCLE_STEPS[kind].at(-1);
  return step === last ? 'completed' : undefined;
}

function stepsOf(deps: LifecycleStepsDeps): Readonly<Record<LifecycleStep, Step>> {
  const { control } = deps;
  const done = async (work: Promise<unknown>): Promise<StepAnswer> => {
    await work;
    return {};
  };
  const move = (row: LifecycleRow, from: readonly string[], to: string): Promise<unknown> =>
    control.query('SELECT move_tenant($1, $2, $3, $4)', [
      row.tenantId,
      from,
      to,
      { lifecycle: row.id, by: row.requestedBy, reason: row.reason },
    ]);
  const activate = async (row: LifecycleRow): Promise<void> => {
    await move(row, ['provisioning', 'resuming'], 'active');
    await control.query(WAKE, [row.tenantId]);
  };
  const serveAgain = async (row: LifecycleRow, from: string): Promise<void> => {
    await move(row, [from], 'resuming');
    await deps.issueTokens(row.tenantId);
  };

  return {
    'check-rows': (row) => done(checkRows(control, row.tenantId)),
    'register-namespace': (row) => done(deps.registerNamespace(row.tenantId)),
    'issue-tokens': (row) =>
      done(row.kind === 'resume' ? serveAgain(row, 'suspended') : deps.issueTokens(row.tenantId)),
    activate: (row) => done(activate(row)),

    async stop(row) {
      await control.query(REMEMBER, [row.tenantId, row.id]);
      const to = row.kind === 'offboard' ? 'offboarding' : 'suspended';
      await move(row, ['provisioning', 'active', 'suspended', 'resuming'], to);
      return {};
    },
    async drain({ tenantId }) {
      await deps.withdrawTokens(tenantId);
      for (let leftMs = DRAIN_MS_MAX; leftMs > 0; leftMs -= DRAIN_EVERY_MS) {
        const [row] = await control.query<{ open: boolean }>(IN_FLIGHT, [tenantId]);
        if (row?.open !== true) break;
        await deps.sleep(DRAIN_EVERY_MS);
      }
      return {};
    },
    async 'revoke-tokens'({ tenantId }) {
      await revokeTokenKeys(control, tenantId);
      await deps.withdrawTokens(tenantId);
      await deps.untilRefused(tenantId);
      return {};
    },

    async export({ tenantId, id }) {
      const file = await deps.writeExport(id, exportLines(control, tenantId));
      await control.query('UPDATE lifecycles SET export_file = $3 WHERE tenant_id = $1 AND id = $2', [
        tenantId,
        id,
        file,
      ]);
      return {};
    },
    async 'wait-grace'(row) {
      const [left] = await control.query<{ ms: number; reinstate: boolean }>(GRACE, [row.tenantId, row.id]);
      return { waitMs: Math.max(0, Math.ceil(left?.ms ?? 0)), reinstate: left?.reinstate ?? false };
    },
    async 'begin-erasure'({ tenantId, id }) {
      const [row] = await control.query<{ begun: boolean }>('SELECT begin_erasure($1, $2) AS begun', [
        tenantId,
        id,
      ]);
      return { reinstate: row?.begun !== true };
    },
    'destroy-keys': ({ tenantId, requestedBy: actor, reason }) =>
      done(deps.destroyKeys(tenantId, { actor, reason })),
    'delete-namespace': ({ tenantId }) => done(deps.deleteNamespace(tenantId)),
    'delete-rows': ({ tenantId }) => done(eraseRows(control, tenantId)),
    'leave-tombstone': ({ tenantId }) => done(leaveTombstone(control, tenantId)),

    async 'put-back'(row) {
      if (row.statusBefore === 'suspended' || row.statusBefore === 'provisioning') {
        await move(row, ['offboarding'], row.statusBefore);
        return {};
      }
      // a second attempt may find it active already
      const [tenant] = await control.query<{ status: string }>('SELECT status FROM tenants WHERE id = $1', [
        row.tenantId,
      ]);
      if (tenant?.status !== 'active') await serveAgain(row, 'offboarding');
      await activate(row);
      return {};
    },
  };
}

async function checkRows(control: Pick<ControlDb, 'query'>, tenantId: TenantId): Promise<void> {
  const rows = await control.query(
    'SELECT FROM tenants t JOIN journal_heads h ON h.tenant_id = t.id WHERE t.id = $1',
    [tenantId],
  );
  if (rows.length === 0) throw new Error(`the rows of ${tenantId} are not complete`);
}

/** The status to which a reinstatement returns; the first attempt of the step decides. */
const REMEMBER = `
  UPDATE lifecycles l SET status_before = t.status FROM tenants t
   WHERE l.tenant_id = $1 AND l.id = $2 AND t.id = l.tenant_id AND l.status_before IS NULL
     AND t.status NOT IN ('offboarding', 'erasing', 'offboarded')`;

/** Requests that were sent and have no answer yet. */
const IN_FLIGHT = `
  SELECT EXISTS (SELECT FROM effects WHERE tenant_id = $1 AND state = 'open' AND NOT holder_ended) AS open`;

/** Runs that were parked meanwhile go on at once, not at their next slow look. */
const WAKE = `
  WITH woken AS (
    INSERT INTO outbox (tenant_id, kind, run_id, payload)
    SELECT r.tenant_id, 'signal', r.id, '{"signal":"resume"}' FROM runs r
     WHERE r.tenant_id = $1 AND r.finished_at IS NULL AND r.started_at IS NOT NULL AND r.state = 'paused'
    RETURNING run_id
  )
  SELECT pg_notify('bulkhead_outbox', '') FROM (SELECT count(*) FROM woken) x`;

/** The grace period begins once; its end is fixed then. */
const GRACE = `
  UPDATE lifecycles SET grace_until = coalesce(grace_until, now() + make_interval(secs => grace_seconds)),
         state = CASE WHEN coalesce(grace_until, now() + make_interval(secs => grace_seconds)) > now() AND reinstated_by IS NULL
                      THEN 'waiting' ELSE 'running' END
   WHERE tenant_id = $1 AND id = $2 AND finished_at IS NULL
  RETURNING (extract(epoch FROM grace_until - now()) * 1000)::float8 AS ms, reinstated_by IS NOT NULL AS reinstate`;
