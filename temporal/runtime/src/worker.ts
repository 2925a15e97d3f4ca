import { NativeConnection, Runtime } from '@temporalio/worker';
import type { Worker, WorkerOptions } from '@temporalio/worker';
import { placementOf } from '@bulkhead/contract';
import type {
  CallAnswer,
  CallRequest,
  Envelope,
  GrantAnswer,
  GrantRequest,
  TenantId,
  ToolListAnswer,
  ToolListRequest,
} from '@bulkhead/contract';
import type { LogMetadata, PayloadCodec } from '@temporalio/common';
import { workerConverterOf } from './codec.js';
import { activityDoor } from './door.js';
import type { EnvelopeVerifier } from './envelope.js';
import { FleetWorker } from './fleet-worker.js';
import { refusalSink } from './refusal.js';
import type { OnRefusal } from './refusal.js';

export { closeFleetThreads } from './fleet-worker.js';
export type { OnRefusal } from './refusal.js';

type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';
/** The slice of a pino logger that is used here. */
export type ProcessLog = Readonly<Record<LogLevel, (fields: object, message: string) => void>>;

/**
 * Sets up the SDK's native side, once per process and before any connection. Signals are the main's business: the SDK
 * would shut Workers down by itself and the host could not drain in its own order.
 */
export function installRuntime(log: ProcessLog, level: LogLevel): void {
  const least = ORDER.indexOf(level);
  // the SDK tells of each activity and task at its lower levels: what nobody will read is not put together
  const write = (at: LogLevel) =>
    ORDER.indexOf(at) < least
      ? () => undefined
      : (message: string, meta?: LogMetadata) => log[at]({ ...meta }, message);
  const writers = {
    trace: write('trace'),
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
  };
  Runtime.install({
    shutdownSignals: [],
    workerHeartbeatInterval: 0,
    logger: { ...writers, log: (at, message, meta) => writers[LEVELS[at]](message, meta) },
    telemetryOptions: {
      logging: { filter: { core: level === 'debug' ? 'INFO' : 'WARN', other: 'WARN' }, forward: {} },
    },
  });
}

const ORDER: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error'];
const LEVELS = { TRACE: 'trace', DEBUG: 'debug', INFO: 'info', WARN: 'warn', ERROR: 'error' } as const;

/** The activities as a Worker runs them: behind the door, with the opened envelope in front. */
export interface GovernedActivities {
  secretBroker(envelope: Envelope, request: GrantRequest): Promise<GrantAnswer>;
  toolGateway(envelope: Envelope, request: CallRequest): Promise<CallAnswer>;
  toolList(envelope: Envelope, request: ToolListRequest): Promise<ToolListAnswer>;
}

export interface TenantWorkerOptions {
  readonly tenantId: TenantId;
  /** With the tenant's own token. */
  readonly connection: NativeConnection;
  readonly bundlePath: string;
  readonly verifier: EnvelopeVerifier;
  /** The tenant's own: what it did not seal is not worked on. */
  readonly codec: PayloadCodec;
  /** Told of each envelope that a workflow or an activity's door refuses. */
  readonly onRefusal: OnRefusal;
  readonly activities: GovernedActivities;
  /** Names the process in Temporal's event histories. */
  readonly identity: string;
  /** Workflows kept in memory; 0 replays the whole history at each step (tests of determinism). */
  readonly maxCachedWorkflows: number;
  /** How long a shutdown waits for running activities before it cancels them. */
  readonly shutdownGraceMs: number;
}

/** Connects with the tenant's token. @throws TransportError when the server is away or refuses the token. */
export function openWorkerConnection(options: {
  readonly address: string;
  readonly tls?: boolean | undefined;
  readonly token: string;
}): Promise<NativeConnection> {
  return NativeConnection.connect({
    address: options.address,
    tls: options.tls ?? false,
    apiKey: options.token,
  });
}

/** What runs for one tenant in one process. */
export type TenantWorker = Pick<Worker, 'run' | 'shutdown' | 'getState'>;

/** Calls of expensive tools that one host carries at once for one tenant. */
const EXPENSIVE_CALLS_MAX = 4;

/**
 * One tenant's Worker in the tenant's namespace: everything on the tenant's queue, and the calls of expensive tools on a
 * queue with a few slots of their own, so that a slow one takes none from the others.
 * @throws BulkheadError when the tenant's key cannot be had: a Worker that cannot seal breaks at its first answer
 */
export async function createTenantWorker(options: TenantWorkerOptions): Promise<TenantWorker> {
  await options.codec.encode([{}]);
  const { taskQueue, expensiveQueue } = placementOf(options.tenantId);
  const { toolGateway } = options.activities;
  return together([
    () =>
      FleetWorker.create({
        ...everyWorker(options),
        taskQueue,
        workflowBundle: { codePath: options.bundlePath },
        activities: { ...options.activities },
        sinks: refusalSink(options.tenantId, options.onRefusal),
        workflowThreadPoolSize: 2,
        reuseV8Context: true,
        maxCachedWorkflows: options.maxCachedWorkflows,
        workflowTaskPollerBehavior: { type: 'autoscaling', minimum: 1, initial: 1, maximum: 8 },
        activityTaskPollerBehavior: { type: 'autoscaling', minimum: 1, initial: 1, maximum: 8 },
        maxConcurrentWorkflowTaskExecutions: 16,
        maxConcurrentActivityTaskExecutions: 32,
        maxConcurrentLocalActivityExecutions: 32,
        // how long a workflow waits for a host that died with its cache (default 10 s)
        stickyQueueScheduleToStartTimeout: '5s',
      }),
    () =>
      FleetWorker.create({
        ...everyWorker(options),
        taskQueue: expensiveQueue,
        activities: { toolGateway },
        activityTaskPollerBehavior: { type: 'simple-maximum', maximum: 1 },
        maxConcurrentActivityTaskExecutions: EXPENSIVE_CALLS_MAX,
      }),
  ]);
}

/** Both queues: the same door, the same codec, the same end. */
function everyWorker(options: TenantWorkerOptions) {
  const { tenantId, verifier, onRefusal, shutdownGraceMs } = options;
  return {
    connection: options.connection,
    namespace: placementOf(tenantId).namespace,
    identity: options.identity,
    dataConverter: workerConverterOf(options.codec),
    interceptors: { activity: [activityDoor(tenantId, verifier, onRefusal)] },
    maxHeartbeatThrottleInterval: '3s',
    defaultHeartbeatThrottleInterval: '1s',
    shutdownGraceTime: shutdownGraceMs,
    // activities that ignore their cancellation must not keep a stopping process alive for ever
    shutdownForceTime: shutdownGraceMs + 10_000,
  } satisfies Partial<WorkerOptions>;
}

/** Several Workers as one: none runs unless all could be made, and all end with the first that does. */
async function together(makers: readonly (() => Promise<Worker>)[]): Promise<TenantWorker> {
  const made = await Promise.allSettled(makers.map((make) => make()));
  const workers = made.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  const shutdown = (): void => {
    for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
  };
  const run = async (): Promise<void> => {
    const ended = await Promise.allSettled(workers.map((worker) => worker.run().finally(shutdown)));
    for (const end of ended) if (end.status === 'rejected') throw end.reason;
  };
  const failed = made.find((each) => each.status === 'rejected');
  if (failed) {
    // one that was never run would hold the connection for ever
    const running = run();
    shutdown();
    await running;
    throw failed.reason;
  }
  return {
    run,
    shutdown,
    getState: () => workers.map((worker) => worker.getState()).sort(isRunningFirst)[0] ?? 'STOPPED',
  };
}

const isRunningFirst = (a: string, b: string): number => Number(b === 'RUNNING') - Number(a === 'RUNNING');
