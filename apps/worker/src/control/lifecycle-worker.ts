import { Context } from '@temporalio/activity';
import { Worker } from '@temporalio/worker';
import type { NativeConnection } from '@temporalio/worker';
import { LIFECYCLE_PLACE } from '@bulkhead/contract';
import type { LifecycleActivities } from '@bulkhead/contract';

const HEARTBEAT_MS = 1_000;
const SHUTDOWN_GRACE_MS = 5_000;

/** The Worker of the platform's own workflows: another bundle, namespace and token than any tenant's. */
export function createLifecycleWorker(
  connection: NativeConnection,
  taskQueue: string,
  bundlePath: string,
  steps: LifecycleActivities,
): Promise<Worker> {
  return Worker.create({
    connection,
    namespace: LIFECYCLE_PLACE.namespace,
    taskQueue,
    identity: 'control',
    workflowBundle: { codePath: bundlePath },
    activities: beating(steps),
    reuseV8Context: true,
    workflowThreadPoolSize: 1,
    maxCachedWorkflows: 50,
    workflowTaskPollerBehavior: { type: 'autoscaling', minimum: 1, initial: 1, maximum: 4 },
    activityTaskPollerBehavior: { type: 'autoscaling', minimum: 1, initial: 1, maximum: 4 },
    maxConcurrentWorkflowTaskExecutions: 8,
    maxConcurrentActivityTaskExecutions: 16,
    stickyQueueScheduleToStartTimeout: '5s',
    maxHeartbeatThrottleInterval: '1s',
    defaultHeartbeatThrottleInterval: '1s',
    shutdownGraceTime: SHUTDOWN_GRACE_MS,
    shutdownForceTime: SHUTDOWN_GRACE_MS + 5_000,
  });
}

/** While a step is being done the server hears so; when it hears nothing for 5 s, another process begins the step again. */
function beating(steps: LifecycleActivities): { [K in keyof LifecycleActivities]: LifecycleActivities[K] } {
  return {
    async lifecycleStep(start, step) {
      const { heartbeat } = Context.current();
      const heart = setInterval(() => heartbeat(), HEARTBEAT_MS);
      try {
        return await steps.lifecycleStep(start, step);
      } finally {
        clearInterval(heart);
      }
    },
  };
}
