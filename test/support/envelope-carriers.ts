import { randomUUID } from 'node:crypto';
import { WorkflowFailedError } from '@temporalio/client';
import { ACTIVITIES, childWorkflowId, placementOf, SIGNALS } from '@bulkhead/contract';
import type { EnvelopeRefusal, RunId } from '@bulkhead/contract';
import type { Forgery } from './envelope-forgeries.js';
import { CommandType, complete, EventType, headerOf, payloadsOf, takeTask } from './raw-temporal.js';
import type { Command } from './raw-temporal.js';
import { resetToFirstTask } from './reset.js';
import { scriptedLine } from './scripted-line.js';
import type { ScriptedAnswer, ScriptedLine } from './scripted-line.js';
import type { TenantWorld } from './tenant-world.js';

/** A way for a header to reach the tenant's real Worker; resolves to how it ended: a failure code, or `ok`. */
export type Carrier = (attack: Attack, forge: Forgery) => Promise<Carried>;
export interface Carried {
  readonly end: string;
  /** The workflow that the refusal must name. */
  readonly workflowId: string;
}

/** What the carriers work with. */
export interface Attack {
  readonly world: TenantWorld;
  readonly line: ScriptedLine;
  /** What the Worker said that it refused. */
  readonly refusals: readonly EnvelopeRefusal[];
}

const PARKED: ScriptedAnswer = { kind: 'parked', state: 'paused', reason: { message: 'paused' } };
const PARK = 'park-';
/** A line on which the runs that wait for a signal wait: those whose ticket says so. */
export const parkingLine = (): ScriptedLine =>
  scriptedLine((request, asked) => (ticketOf(request).startsWith(PARK) && asked > 0 ? PARKED : undefined));

const ticketOf = ({ args }: { args: unknown }): string => String(Reflect.get(Object(args), 'ticketId'));
/** What the line was asked by runs that do not wait for a signal. */
export const askedByOthers = (line: ScriptedLine): number =>
  line.asked.filter((request) => !ticketOf(request).startsWith(PARK)).length;

const START = { input: { ticketId: 'T-1', segments: 1 }, segment: 0 };
const TIMEOUTS = {
  scheduleToCloseTimeout: { seconds: 20 as never },
  startToCloseTimeout: { seconds: 10 as never },
};

/** What reaches a run that has started. */
export const LATER_CARRIERS: Record<string, Carrier> = {
  signal: (attack, forge) =>
    whileParked(attack, async (runId) => {
      const { namespace } = placementOf(attack.world.tenantId);
      await attack.world.connection.workflowService.signalWorkflowExecution({
        namespace,
        workflowExecution: { workflowId: runId },
        signalName: SIGNALS.resume,
        requestId: randomUUID(),
        header: headerOf(forge(runId)),
      });
    }),
  'update with a validator': (attack, forge) => update(attack, 'checked', forge),
  'update without one': (attack, forge) => update(attack, 'unchecked', forge),
};

export const CARRIERS: Record<string, Carrier> = {
  start: async ({ world }, forge) => {
    const runId = world.newRunId();
    await start(world, runId, forge(runId));
    return ended(world, runId);
  },
  'start with retries': async ({ world }, forge) => {
    const runId = world.newRunId();
    await start(world, runId, forge(runId), {
      maximumAttempts: 3,
      initialInterval: { nanos: 1_000_000 },
    });
    return ended(world, runId);
  },
  'signal with start': async ({ world }, forge) => {
    const runId = world.newRunId();
    const { namespace, taskQueue } = placementOf(world.tenantId);
    await world.connection.workflowService.signalWithStartWorkflowExecution({
      namespace,
      workflowId: runId,
      workflowType: { name: 'longChain' },
      taskQueue: { name: taskQueue },
      requestId: randomUUID(),
      input: await payloadsOf(world.codec, START),
      signalName: SIGNALS.resume,
      header: headerOf(forge(runId)),
    });
    return ended(world, runId);
  },
  reset: async ({ world }, forge) => {
    const runId = world.newRunId();
    await start(world, runId, forge(runId));
    await ended(world, runId);
    await resetToFirstTask(world.connection, world.tenantId, runId);
    return ended(world, runId);
  },
  activity: async ({ world }, forge) => {
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
    return { end: await activityEndOf(world, runId), workflowId: runId };
  },
  'continue as new': async ({ world }, forge) => {
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
    return ended(world, runId);
  },
  ...LATER_CARRIERS,
};

/** Nothing that comes this way was accepted: the run's own genuine envelope is refused as well. */
export const CLOSED_CARRIERS: Record<string, Carrier> = {
  child: async ({ world }, forge) => {
    const runId = world.newRunId();
    const workflowId = childWorkflowId(runId, 0, 0);
    await child(world, runId, workflowId, forge(runId));
    return ended(world, workflowId);
  },
  'child under an id of its own': async ({ world }, forge) => {
    const workflowId = world.newRunId();
    await child(world, world.newRunId(), workflowId, forge(workflowId));
    return ended(world, workflowId);
  },
  schedule: async ({ world }, forge) => {
    const runId = world.newRunId();
    const { namespace, taskQueue } = placementOf(world.tenantId);
    const service = world.connection.workflowService;
    const scheduleId = `schedule-${runId}`;
    await service.createSchedule({
      namespace,
      scheduleId,
      requestId: randomUUID(),
      schedule: {
        spec: {},
        action: {
          startWorkflow: {
            workflowId: runId,
            workflowType: { name: 'longChain' },
            taskQueue: { name: taskQueue },
            input: await payloadsOf(world.codec, START),
            header: headerOf(forge(runId)),
          },
        },
      },
      initialPatch: { triggerImmediately: {} },
    });
    const workflowId = await soon('a scheduled start', async () => {
      const { info } = await service.describeSchedule({ namespace, scheduleId });
      return info?.recentActions?.[0]?.startWorkflowResult?.workflowId ?? undefined;
    });
    await service.deleteSchedule({ namespace, scheduleId });
    return ended(world, workflowId);
  },
};

/** What an author gets who starts a child from workflow code: there is no `delegate` yet that would have it accepted. */
export async function childOfWorkflowCode({ world }: Attack): Promise<Carried> {
  const runId = world.newRunId();
  await world.start('mother', null, { runId });
  return ended(world, runId);
}

/** A genuine run waits for a signal; `send` sends one. It ends `ok` when the run was woken. */
async function whileParked(
  { world, line, refusals }: Attack,
  send: (runId: RunId) => Promise<void>,
): Promise<Carried> {
  const runId = world.newRunId();
  const ticketId = `${PARK}${runId}`;
  const asked = (): number => line.asked.filter((request) => ticketOf(request) === ticketId).length;
  const handle = await world.start('longChain', { ticketId, segments: 1 }, { runId });
  await soon('a run that waits', async () => (asked() === 1 ? true : undefined));
  await send(runId);
  const end = await soon('a signal that is taken or refused', async () =>
    asked() > 1 ? 'ok' : refusals.find((refusal) => refusal.workflowId === runId)?.code,
  );
  // whatever was refused must not wake it a moment later either
  const woken = end !== 'ok' && asked() > 1;
  await handle.terminate();
  return { end: woken ? 'ok' : end, workflowId: runId };
}

async function update({ world }: Attack, name: string, forge: Forgery): Promise<Carried> {
  const runId = world.newRunId();
  const handle = await world.start('updatable', null, { runId });
  const { outcome } = await world.connection.withDeadline(Date.now() + 20_000, () =>
    world.connection.workflowService.updateWorkflowExecution({
      namespace: placementOf(world.tenantId).namespace,
      workflowExecution: { workflowId: runId },
      waitPolicy: { lifecycleStage: 3 },
      request: {
        meta: { updateId: randomUUID(), identity: 'evil' },
        input: { name, header: headerOf(forge(runId)), args: {} },
      },
    }),
  );
  const end = outcome?.failure?.applicationFailureInfo?.type ?? (outcome?.success ? 'ok' : 'nothing');
  // one that was taken has ended the run
  if (end !== 'ok') await handle.terminate();
  return { end, workflowId: runId };
}

async function start(
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

const child = async (
  world: TenantWorld,
  parent: RunId,
  workflowId: string,
  envelope: unknown,
): Promise<void> =>
  command(world, parent, {
    commandType: CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION,
    startChildWorkflowExecutionCommandAttributes: {
      namespace: placementOf(world.tenantId).namespace,
      workflowId,
      workflowType: { name: 'longChain' },
      taskQueue: { name: placementOf(world.tenantId).taskQueue },
      header: headerOf(envelope),
      input: await payloadsOf(world.codec, START),
    },
  });

/** The attacker's own workflow, under the run's id, gives one command. */
async function command(world: TenantWorld, runId: RunId, given: Command): Promise<void> {
  const { namespace } = placementOf(world.tenantId);
  await complete(world.connection, namespace, await takeTask(world.connection, namespace, runId), [given]);
}

async function ended(world: TenantWorld, workflowId: string): Promise<Carried> {
  const client = world.client();
  // a child appears a moment after its parent's command
  for (let tries = 0; ; tries += 1) {
    try {
      await client.workflow.getHandle(workflowId).result();
      return { end: 'ok', workflowId };
    } catch (error) {
      if (error instanceof WorkflowFailedError) return { end: codeOf(error.cause), workflowId };
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
  return soon('the end of an activity', async () => {
    const { history } = await world.connection.workflowService.getWorkflowExecutionHistory({
      namespace,
      execution: { workflowId },
    });
    for (const event of history?.events ?? []) {
      if (event.eventType === EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED) return 'ok';
      const { failure } = event.activityTaskFailedEventAttributes ?? {};
      if (failure) return failure.applicationFailureInfo?.type ?? String(failure.message);
    }
    return undefined;
  });
}

/** @throws Error when it does not come within 20 s. */
async function soon<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  for (let tries = 0; tries < 400; tries += 1) {
    const found = await look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${what} did not come within 20 s`);
}
