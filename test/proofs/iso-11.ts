import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Connection } from '@temporalio/client';
import type { temporal } from '@temporalio/proto';
import { pino } from 'pino';
import { inject, vi } from 'vitest';
import { placementOf } from '@bulkhead/contract';
import type { TenantId, TenantPlacement } from '@bulkhead/contract';
import { openConnection } from '@bulkhead/runtime/client';
import { createTokenMinter } from '@bulkhead/runtime/tokens';
import { closeFleetThreads, installRuntime } from '@bulkhead/runtime/worker';
import { CommandType, complete, isRefusal, takeTask } from '../support/raw-temporal.js';
import type { Command } from '../support/raw-temporal.js';
import { scriptedLine } from '../support/scripted-line.js';
import { openTenantWorld } from '../support/tenant-world.js';
import type { TenantWorld } from '../support/tenant-world.js';
import { zeroOf } from './proof.js';
import type { Proof } from './proof.js';

/** The victim's namespace, queue and a run of it that is open. */
interface Victim extends TenantPlacement {
  readonly workflowId: string;
}
type Service = Connection['workflowService'];
type Request = (service: Service, victim: Victim) => Promise<unknown>;

const execution = ({ workflowId }: Victim) => ({ workflowId });

/** Everything that a client can ask about or do to a namespace. */
const REQUESTS: Record<string, Request> = {
  start: (service, { namespace, taskQueue }) =>
    service.startWorkflowExecution({
      namespace,
      workflowId: `evil-${randomUUID()}`,
      workflowType: { name: 'longChain' },
      taskQueue: { name: taskQueue },
      requestId: randomUUID(),
    }),
  'signal with start': (service, { namespace, taskQueue, workflowId }) =>
    service.signalWithStartWorkflowExecution({
      namespace,
      workflowId,
      workflowType: { name: 'longChain' },
      taskQueue: { name: taskQueue },
      signalName: 'resume',
      requestId: randomUUID(),
    }),
  signal: (service, victim) =>
    service.signalWorkflowExecution({
      namespace: victim.namespace,
      workflowExecution: execution(victim),
      signalName: 'resume',
      requestId: randomUUID(),
    }),
  query: (service, victim) =>
    service.queryWorkflow({
      namespace: victim.namespace,
      execution: execution(victim),
      query: { queryType: 'waitingFor' },
    }),
  update: (service, victim) =>
    service.updateWorkflowExecution({
      namespace: victim.namespace,
      workflowExecution: execution(victim),
      request: { meta: { updateId: 'x' }, input: { name: 'x' } },
    }),
  terminate: (service, victim) =>
    service.terminateWorkflowExecution({ namespace: victim.namespace, workflowExecution: execution(victim) }),
  cancel: (service, victim) =>
    service.requestCancelWorkflowExecution({
      namespace: victim.namespace,
      workflowExecution: execution(victim),
    }),
  delete: (service, victim) =>
    service.deleteWorkflowExecution({ namespace: victim.namespace, workflowExecution: execution(victim) }),
  reset: (service, victim) =>
    service.resetWorkflowExecution({
      namespace: victim.namespace,
      workflowExecution: execution(victim),
      workflowTaskFinishEventId: 4 as never,
      requestId: randomUUID(),
    }),
  describe: (service, victim) =>
    service.describeWorkflowExecution({ namespace: victim.namespace, execution: execution(victim) }),
  history: (service, victim) =>
    service.getWorkflowExecutionHistory({ namespace: victim.namespace, execution: execution(victim) }),
  list: (service, { namespace }) => service.listWorkflowExecutions({ namespace }),
  scan: (service, { namespace }) => service.scanWorkflowExecutions({ namespace }),
  count: (service, { namespace }) => service.countWorkflowExecutions({ namespace }),
  'describe namespace': (service, { namespace }) => service.describeNamespace({ namespace }),
  'list namespaces': (service) => service.listNamespaces({}),
  'update namespace': (service, { namespace }) =>
    service.updateNamespace({ namespace, updateInfo: { description: 'evil' } }),
  'describe queue': (service, { namespace, taskQueue }) =>
    service.describeTaskQueue({ namespace, taskQueue: { name: taskQueue } }),
  'poll workflow tasks': (service, { namespace, taskQueue }) =>
    service.pollWorkflowTaskQueue({ namespace, taskQueue: { name: taskQueue } }),
  'poll activity tasks': (service, { namespace, taskQueue }) =>
    service.pollActivityTaskQueue({ namespace, taskQueue: { name: taskQueue } }),
  'complete an activity': (service, { namespace, workflowId }) =>
    service.respondActivityTaskCompletedById({ namespace, workflowId, activityId: '1' }),
  'create a schedule': (service, { namespace }) =>
    service.createSchedule({ namespace, scheduleId: 'evil', requestId: randomUUID() }),
  'list schedules': (service, { namespace }) => service.listSchedules({ namespace }),
  'start a batch': (service, { namespace }) =>
    service.startBatchOperation({
      namespace,
      jobId: randomUUID(),
      visibilityQuery: '',
      terminationOperation: {},
    }),
};

/** Commands of the attacker's own workflow that reach into another namespace. */
const COMMANDS: Record<string, (victim: Victim) => Command> = {
  'start a child': ({ namespace, taskQueue }) => ({
    commandType: CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION,
    startChildWorkflowExecutionCommandAttributes: {
      namespace,
      workflowId: `evil-${randomUUID()}`,
      workflowType: { name: 'longChain' },
      taskQueue: { name: taskQueue },
    },
  }),
  'signal a run': (victim) => ({
    commandType: CommandType.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION,
    signalExternalWorkflowExecutionCommandAttributes: {
      namespace: victim.namespace,
      execution: execution(victim),
      signalName: 'resume',
    },
  }),
  'cancel a run': (victim) => ({
    commandType: CommandType.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION,
    requestCancelExternalWorkflowExecutionCommandAttributes: {
      namespace: victim.namespace,
      workflowId: victim.workflowId,
    },
  }),
};

/**
 * A client with tenant B's token, and with worse ones, asks and does everything in A's namespace; B's own workflow
 * reaches into A by hand-made commands. Nothing succeeds, and nothing was done to A's open run.
 */
export const run: Proof = async ({ progress }) => {
  installRuntime(pino({ level: 'fatal' }), 'warn');
  const line = scriptedLine(() => ({ kind: 'parked', state: 'paused', reason: { message: 'paused' } }));
  const [a, b] = await Promise.all([openTenantWorld(line.activities), openTenantWorld(line.activities)]);
  const folder = await mkdtemp(join(tmpdir(), 'iso-11-'));
  const attackers = await attackersOf(b.tenantId, folder);
  const faults: string[] = [];
  let tried = 0;
  try {
    const handle = await a.start('longChain', { ticketId: 'T-1', segments: 1 });
    await vi.waitFor(() => {
      if (line.asked.length === 0) throw new Error('not parked yet');
    }, 20_000);
    const victim = { ...placementOf(a.tenantId), workflowId: handle.workflowId };
    const before = await othersDoings(a, victim);
    for (const [who, connection] of Object.entries(attackers)) {
      const [attempts, wrong] = await askEverything(connection, victim);
      tried += attempts;
      faults.push(...wrong.map((what) => `${who}: ${what}`));
      progress(`${who}: ${attempts} requests`);
    }
    const own = attackers["B's write token"] as Connection;
    for (const [name, command] of Object.entries(COMMANDS)) {
      tried += 1;
      const accepted = await reachesOver(own, b, command(victim));
      if (accepted !== undefined) faults.push(`B's workflow could ${name}: ${accepted}`);
    }
    const after = await othersDoings(a, victim);
    if (after !== before) faults.push(`what others did to A changed: ${before} -> ${after}`);
    return zeroOf('attempts that were not refused', tried, faults);
  } finally {
    await Promise.all(Object.values(attackers).map((connection) => connection.close()));
    await Promise.all([a.close(), b.close()]);
    await closeFleetThreads();
    await rm(folder, { recursive: true });
  }
};

async function attackersOf(tenant: TenantId, folder: string): Promise<Record<string, Connection>> {
  const { temporal: server, keys } = inject('servers');
  const forged = join(folder, 'forged.key');
  await writeFile(forged, randomBytes(32).toString('base64'), { mode: 0o600 });
  const minter = (signingKeyPath: string, ageMs = 0) =>
    createTokenMinter({ signingKeyPath, ttlSeconds: 600, nowMs: () => Date.now() - ageMs });
  const genuine = minter(keys.temporalSigning);
  const open = (token: string): Connection => openConnection({ address: server.address, token: () => token });
  return {
    "B's write token": open(genuine.tenant(tenant, 'write')),
    "B's read token": open(genuine.tenant(tenant, 'read')),
    'an expired admin token': open(minter(keys.temporalSigning, 3_600_000).system('admin')),
    'an admin token of a key of our own': open(minter(forged).system('admin')),
    'no token': open(''),
    'an unsigned admin token': open(unsigned()),
  };
}

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const unsigned = (): string =>
  `${part({ alg: 'none', typ: 'JWT' })}.${part({ sub: 'x', permissions: ['temporal-system:admin'] })}.`;

async function askEverything(connection: Connection, victim: Victim): Promise<[number, string[]]> {
  const wrong: string[] = [];
  for (const [name, request] of Object.entries(REQUESTS)) {
    const refused = await connection
      .withDeadline(Date.now() + 10_000, () => request(connection.workflowService, victim))
      .then(
        () => false,
        (error: unknown) => isRefusal(error) || String(error),
      );
    if (refused !== true) wrong.push(`${name} ${refused === false ? 'succeeded' : refused}`);
  }
  return [Object.keys(REQUESTS).length, wrong];
}

/** undefined: the server refused the command, at once or as a failed event; else what it did. */
async function reachesOver(own: Connection, b: TenantWorld, command: Command): Promise<string | undefined> {
  const { namespace } = placementOf(b.tenantId);
  const workflowId = `evil-${randomUUID()}`;
  const token = await takeTask(own, namespace, workflowId);
  try {
    await complete(own, namespace, token, [command]);
  } catch (error) {
    return [3, 7].includes(Number(Reflect.get(Object(error), 'code'))) ? undefined : String(error);
  }
  return 'the command was taken';
}

/**
 * Number of workflows in the namespace, and the events of the run that its own Worker did not cause: the run goes on
 * meanwhile, and its tasks and timers are no one's attack.
 */
async function othersDoings(a: TenantWorld, victim: Victim): Promise<string> {
  const { workflowService } = a.connection;
  const { history } = await workflowService.getWorkflowExecutionHistory({
    namespace: victim.namespace,
    execution: execution(victim),
  });
  const { count } = await workflowService.countWorkflowExecutions({ namespace: victim.namespace });
  const others = (history?.events ?? []).filter((event) => !isOwn(event)).map(({ eventType }) => eventType);
  return `${String(count)} workflows, events ${others.join(',')}`;
}

type Event = temporal.api.history.v1.IHistoryEvent;

/** A task or an activity that the Worker took or the server gave it, and a timer that the workflow set. */
function isOwn(event: Event): boolean {
  const completed = event.workflowTaskCompletedEventAttributes ?? event.activityTaskCompletedEventAttributes;
  if (completed) return completed.identity === OWN_WORKER;
  return OWN_EVENTS.some((attributes) => Boolean(event[attributes]));
}

const OWN_WORKER = 'test-host';
const OWN_EVENTS = [
  'workflowTaskScheduledEventAttributes',
  'workflowTaskStartedEventAttributes',
  'activityTaskScheduledEventAttributes',
  'activityTaskStartedEventAttributes',
  'markerRecordedEventAttributes',
  'timerStartedEventAttributes',
  'timerFiredEventAttributes',
] as const satisfies readonly (keyof Event)[];
