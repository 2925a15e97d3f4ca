import { randomUUID } from 'node:crypto';
import { WorkflowFailedError } from '@temporalio/client';
import { pino } from 'pino';
import { inject } from 'vitest';
import { ACTIVITIES, childWorkflowId, placementOf } from '@bulkhead/contract';
import type { RunId } from '@bulkhead/contract';
import { closeFleetThreads, installRuntime } from '@bulkhead/runtime/worker';
import { forgeriesFor } from '../support/envelope-forgeries.js';
import type { Forgery } from '../support/envelope-forgeries.js';
import { CommandType, complete, EventType, headerOf, payloadsOf, takeTask } from '../support/raw-temporal.js';
import type { Command } from '../support/raw-temporal.js';
import { resetToFirstTask } from '../support/reset.js';
import { scriptedLine } from '../support/scripted-line.js';
import { openTenantWorld } from '../support/tenant-world.js';
import type { TenantWorld } from '../support/tenant-world.js';
import { secondsOf, zeroOf } from './proof.js';
import type { Proof } from './proof.js';

/** Cases at once: the server does most of the waiting. */
const BATCH = 20;
const START = { input: { ticketId: 'T-1', segments: 1 }, segment: 0 };
const TIMEOUTS = {
  scheduleToCloseTimeout: { seconds: 20 as never },
  startToCloseTimeout: { seconds: 10 as never },
};

/** A way for the forged header to reach the tenant's real Worker; resolves to how it ended, a failure code or `ok`. */
type Surface = (world: TenantWorld, forge: Forgery) => Promise<string>;

const SURFACES: Record<string, Surface> = {
  start: async (world, forge) => {
    const runId = world.newRunId();
    await startForged(world, runId, forge(runId));
    return endOf(world, runId);
  },
  'start with retries': async (world, forge) => {
    const runId = world.newRunId();
    await startForged(world, runId, forge(runId), {
      maximumAttempts: 3,
      initialInterval: { nanos: 1_000_000 },
    });
    return endOf(world, runId);
  },
  reset: async (world, forge) => {
    const runId = world.newRunId();
    await startForged(world, runId, forge(runId));
    await endOf(world, runId);
    await resetToFirstTask(world.connection, world.tenantId, runId);
    return endOf(world, runId);
  },
  activity: async (world, forge) => {
    const runId = world.newRunId();
    await command(world, runId, {
      commandType: CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK,
      scheduleActivityTaskCommandAttributes: {
        ...TIMEOUTS,
        activityId: '1',
        activityType: { name: ACTIVITIES.toolGateway },
        taskQueue: { name: placementOf(world.tenantId).taskQueue },
        header: headerOf(forge(runId)),
        input: await payloadsOf(world.codec, { toolId: 'webhook.post', args: {}, segment: 0, n: 0 }),
      },
    });
    return activityEndOf(world, runId);
  },
  child: async (world, forge) => {
    const runId = world.newRunId();
    const workflowId = childWorkflowId(runId, 0, 0);
    await command(world, runId, {
      commandType: CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION,
      startChildWorkflowExecutionCommandAttributes: {
        namespace: placementOf(world.tenantId).namespace,
        workflowId,
        workflowType: { name: 'longChain' },
        taskQueue: { name: placementOf(world.tenantId).taskQueue },
        header: headerOf(forge(runId)),
        input: await payloadsOf(world.codec, START),
      },
    });
    return endOf(world, workflowId);
  },
  'continue as new': async (world, forge) => {
    const runId = world.newRunId();
    await command(world, runId, {
      commandType: CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION,
      continueAsNewWorkflowExecutionCommandAttributes: {
        workflowType: { name: 'longChain' },
        taskQueue: { name: placementOf(world.tenantId).taskQueue },
        header: headerOf(forge(runId)),
        input: await payloadsOf(world.codec, START),
      },
    });
    return endOf(world, runId);
  },
};

/**
 * Every forgery over every way into the tenant's real Worker, by an attacker who holds the tenant's Temporal token and
 * makes commands by hand. Each ends with an envelope fault and the line is asked nothing; the genuine envelope passes.
 */
export const run: Proof = async ({ size, progress }) => {
  installRuntime(pino({ level: 'fatal' }), 'warn');
  const line = scriptedLine();
  const world = await openTenantWorld(line.activities);
  const faults: string[] = [];
  const until = performance.now() + (secondsOf(size) + 8) * 1_000;
  let tried = 0;
  try {
    for (const [name, surface] of Object.entries(SURFACES)) {
      const end = await surface(world, (runId) => world.envelopeOf(runId));
      if (end !== 'ok') faults.push(`${name}: the genuine envelope ended with ${end}`);
    }
    const genuine = line.asked.length;
    const cases = Object.entries(forgeriesFor(world, inject('servers').keys.envelopeSigning)).flatMap(
      ([forgery, forge]) =>
        Object.entries(SURFACES).map(([name, surface]) => ({ what: `${name}, ${forgery}`, surface, forge })),
    );
    // a short run takes every so many-th case, so that each surface and kind of forgery has its turn
    const step = size === 'tiny' ? 37 : 1;
    const chosen = cases.filter((_, index) => index % step === 0);
    for (let at = 0; at < chosen.length; at += BATCH) {
      if (performance.now() > until) break;
      await Promise.all(
        chosen.slice(at, at + BATCH).map(async ({ what, surface, forge }) => {
          const end = await surface(world, forge);
          tried += 1;
          if (!end.startsWith('ENVELOPE_')) faults.push(`${what}: ended with ${end}`);
        }),
      );
      progress(`${tried} of ${chosen.length}`);
    }
    if (line.asked.length !== genuine) faults.push(`the line was asked ${line.asked.length - genuine} times`);
    if (tried < chosen.length) progress(`out of time: ${tried} of ${chosen.length} cases`);
    return zeroOf('forgeries that passed', tried, faults);
  } finally {
    await world.close();
    await closeFleetThreads();
  }
};

async function startForged(
  world: TenantWorld,
  runId: RunId,
  envelope: unknown,
  retryPolicy?: { maximumAttempts: number; initialInterval: { nanos: number } },
): Promise<void> {
  const { namespace, taskQueue } = placementOf(world.tenantId);
  await world.connection.workflowService.startWorkflowExecution({
    namespace,
    workflowId: runId,
    workflowType: { name: 'longChain' },
    taskQueue: { name: taskQueue },
    requestId: randomUUID(),
    input: await payloadsOf(world.codec, START),
    header: headerOf(envelope),
    ...(retryPolicy === undefined ? {} : { retryPolicy }),
  });
}

/** The attacker's own workflow, under the run's id, gives one command. */
async function command(world: TenantWorld, runId: RunId, given: Command): Promise<void> {
  const { namespace } = placementOf(world.tenantId);
  await complete(world.connection, namespace, await takeTask(world.connection, namespace, runId), [given]);
}

async function endOf(world: TenantWorld, workflowId: string): Promise<string> {
  const client = world.client();
  // a child appears a moment after its parent's command
  for (let tries = 0; ; tries += 1) {
    try {
      await client.workflow.getHandle(workflowId).result();
      return 'ok';
    } catch (error) {
      if (error instanceof WorkflowFailedError) return codeOf(error.cause);
      if (tries === 50) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** The type of the innermost failure: an activity's fault is wrapped in one that says which activity. */
function codeOf(failure: unknown): string {
  const inner: unknown = Reflect.get(Object(failure), 'cause');
  if (inner instanceof Error) return codeOf(inner);
  return String(Reflect.get(Object(failure), 'type') ?? failure);
}

async function activityEndOf(world: TenantWorld, workflowId: string): Promise<string> {
  const { namespace } = placementOf(world.tenantId);
  for (let tries = 0; tries < 200; tries += 1) {
    const { history } = await world.connection.workflowService.getWorkflowExecutionHistory({
      namespace,
      execution: { workflowId },
    });
    for (const event of history?.events ?? []) {
      if (event.eventType === EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED) return 'ok';
      const { failure } = event.activityTaskFailedEventAttributes ?? {};
      if (failure) return failure.applicationFailureInfo?.type ?? String(failure.message);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return 'nothing within 10 s';
}
