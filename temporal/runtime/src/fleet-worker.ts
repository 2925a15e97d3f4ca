import { Worker } from '@temporalio/worker';
import type { CompiledWorkerOptions, Logger, WorkerOptions } from '@temporalio/worker';
import type { WorkflowCreator } from '@temporalio/worker/lib/workflow/interface.js';
import type { WorkflowBundleWithSourceMapAndFilename as Bundle } from '@temporalio/worker/lib/workflow/workflow-worker-thread/input.js';
import type { coresdk } from '@temporalio/proto';
import { screenPayloads } from './screen-payloads.js';

/** One set of workflow threads and what all its Workers must have in common. */
interface SharedThreads {
  readonly bundle: Bundle;
  readonly activityNames: string;
  readonly creator: Promise<WorkflowCreator>;
}

const bundles = new Map<string, Promise<Bundle | undefined>>();
const started = new Set<Promise<WorkflowCreator>>();
let current: SharedThreads | undefined;

/**
 * Workers of one process share the parsed bundle and the threads that run workflow code: about 1 MB and 6 ms per tenant
 * instead of 23 MB and 0.3 s. This overrides protected hooks of the SDK (two for that, two to screen payloads), so its exact
 * version is pinned and a spec checks that the hooks are still there. Threads know workflows by Temporal's run id: two Workers of one namespace must
 * not share a process. What runs on these threads is platform code of one bundle without module state, so sharing
 * them between tenants shares no data; an endless loop blocks one thread for everybody until the 5 s limit.
 */
export class FleetWorker extends Worker {
  static override create(options: WorkerOptions): Promise<Worker> {
    return super.create(options);
  }

  protected override async handleActivation(
    ...[workflow, task]: Parameters<Worker['handleActivation']>
  ): ReturnType<Worker['handleActivation']> {
    await screenPayloads(this.options.loadedDataConverter.payloadCodecs, task.activation);
    return super.handleActivation(workflow, task);
  }

  protected override pollLoop$<T>(pollFn: () => Promise<T>) {
    return super.pollLoop$(async () => withoutHeartbeatDetails(await pollFn()));
  }

  protected static override getOrCreateBundle(
    options: CompiledWorkerOptions,
    logger: Logger,
  ): Promise<Bundle | undefined> {
    const key =
      options.workflowBundle && 'codePath' in options.workflowBundle
        ? options.workflowBundle.codePath
        : undefined;
    if (key === undefined) return super.getOrCreateBundle(options, logger);
    const known = bundles.get(key) ?? super.getOrCreateBundle(options, logger);
    bundles.set(key, known);
    known.catch(() => bundles.delete(key)); // the caller sees the error; the next Worker reads the file again
    return known;
  }

  protected static override async createWorkflowCreator(
    bundle: Bundle,
    options: CompiledWorkerOptions,
    logger: Logger,
  ): Promise<WorkflowCreator> {
    const activityNames = [...options.activities.keys()].sort().join();
    if (current && (current.bundle !== bundle || current.activityNames !== activityNames)) {
      throw new TypeError('all Workers of a fleet use the same bundle and the same activity names');
    }
    current ??= { bundle, activityNames, creator: super.createWorkflowCreator(bundle, options, logger) };
    const threads = current;
    started.add(threads.creator);
    try {
      return share(await threads.creator, () => retire(threads));
    } catch (error) {
      started.delete(threads.creator);
      retire(threads);
      throw error;
    }
  }
}

/** A Worker's view of the shared threads: it may end without ending them; when they are broken, others get new ones. */
function share(creator: WorkflowCreator, onBroken: () => void): WorkflowCreator {
  return {
    createWorkflow: async (options) => {
      try {
        return await creator.createWorkflow(options);
      } catch (error) {
        // a thread that died (out of memory) answers nothing any more, and every Worker on it fails: the supervisors
        // start them again, on fresh threads
        if (error instanceof Error && error.name === 'UnexpectedError') onBroken();
        throw error;
      }
    },
    destroy: () => Promise.resolve(),
  };
}

/**
 * Our activities beat without details, so whatever an attempt before left there is somebody else's. Left in, what the
 * tenant's key did not seal would fail each further attempt before it begins.
 */
function withoutHeartbeatDetails<T>(polled: T): T {
  const { task } = polled as { task?: coresdk.activity_task.IActivityTask };
  if (task?.start) task.start.heartbeatDetails = [];
  return polled;
}

function retire(threads: SharedThreads): void {
  if (current === threads) current = undefined;
}

/** Ends the shared threads. Call it when every Worker of the process has stopped. */
export async function closeFleetThreads(): Promise<void> {
  const creators = [...started];
  started.clear();
  current = undefined;
  bundles.clear();
  for (const creator of creators) await (await creator).destroy();
}
