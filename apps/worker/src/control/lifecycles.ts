import { Client, WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError } from '@temporalio/client';
import type { Connection } from '@temporalio/client';
import { LIFECYCLE_PLACE, LIFECYCLE_SIGNAL, LIFECYCLE_WORKFLOW } from '@bulkhead/contract';
import type { LifecycleStart } from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';
import { newUlid } from '@bulkhead/runtime/ulid';
import { pendingLifecycles, runningLifecycles, showStarted, showTold } from '@bulkhead/tenancy/control';

export interface LifecyclesDeps {
  readonly control: Pick<ControlDb, 'query'>;
  readonly connection: Connection;
  readonly taskQueue: string;
  readonly log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
}

export interface Lifecycles {
  /** Starts what was ordered and wakes what was taken back. Call it at each hint and each second. */
  deliverOnce(): Promise<{ readonly delivered: number }>;
  /** Starts workflows again that are gone although their lifecycle is not over: another server, somebody's terminate. */
  resumeOnce(): Promise<void>;
}

const REQUEST_MS_MAX = 5_000;

/** Carries what is ordered for tenants to the platform's own workflows. */
export function createLifecycles({ control, connection, taskQueue, log }: LifecyclesDeps): Lifecycles {
  const { workflow } = new Client({ connection, namespace: LIFECYCLE_PLACE.namespace, identity: 'control' });
  const soon = <T>(work: () => Promise<T>): Promise<T> =>
    connection.withDeadline(Date.now() + REQUEST_MS_MAX, work);

  const start = async (what: LifecycleStart): Promise<void> => {
    try {
      await soon(() =>
        workflow.start(LIFECYCLE_WORKFLOW, {
          workflowId: what.lifecycleId,
          taskQueue,
          args: [what],
          workflowIdConflictPolicy: 'FAIL',
          // one that somebody terminated may be started again; steps of one that is over do nothing
          workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        }),
      );
      log.info({ tenantId: what.tenantId, lifecycle: what.lifecycleId }, 'lifecycle started');
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    }
    await showStarted(control, what);
  };
  const wake = async (what: LifecycleStart): Promise<void> => {
    try {
      await soon(() => workflow.getHandle(what.lifecycleId).signal(LIFECYCLE_SIGNAL));
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw error; // it is over, or starts again: it reads the row
    }
    await showTold(control, what);
  };

  const runs = async ({ lifecycleId }: LifecycleStart): Promise<boolean> => {
    try {
      const { status } = await soon(() => workflow.getHandle(lifecycleId).describe());
      return status.name === 'RUNNING' || status.name === 'PAUSED';
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return false;
      throw error;
    }
  };

  return {
    async deliverOnce() {
      const { ordered, takenBack } = await pendingLifecycles(control, newUlid(Date.now()));
      await Promise.all([...ordered.map(start), ...takenBack.map(wake)]);
      return { delivered: ordered.length + takenBack.length };
    },
    async resumeOnce() {
      for (const what of await runningLifecycles(control)) {
        if (await runs(what)) continue;
        log.warn(
          { tenantId: what.tenantId, lifecycle: what.lifecycleId },
          'a lifecycle has no workflow, starting it',
        );
        await start(what);
      }
    },
  };
}
