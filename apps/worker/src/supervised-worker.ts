import { setTimeout as sleep } from 'node:timers/promises';
import type { NativeConnection } from '@temporalio/worker';
import type { TenantWorker } from '@bulkhead/runtime/worker';
import type { Logger } from 'pino';

const BACKOFF_MS_MIN = 500;
const BACKOFF_MS_MAX = 30_000;
/** A Worker that served for so long was healthy: its end is a new trouble, not the old one. */
const HEALTHY_MS_MIN = 60_000;

export interface SupervisedWorkerDeps {
  /** Asked before each start; while it rejects, nothing is started. */
  readonly ready?: () => Promise<void>;
  /** The token to connect with now; it is replaced while the Worker runs. */
  readonly token: () => Promise<string>;
  readonly connect: (token: string) => Promise<NativeConnection>;
  readonly createWorker: (connection: NativeConnection) => Promise<TenantWorker>;
  readonly log: Logger;
}

/** One Worker, kept running: what breaks it is logged and it starts anew; nobody else notices. */
export interface SupervisedWorker {
  /** The token may have been replaced: use the new one at once, before the old one ends. */
  renewToken(): Promise<void>;
  /** Drains the Worker that serves now, if any; it starts anew when it is ready again. */
  restart(): void;
  /** Drains and ends. */
  stop(): Promise<void>;
}

export function superviseWorker(deps: SupervisedWorkerDeps): SupervisedWorker {
  const { log } = deps;
  const stop = new AbortController();
  let connection: NativeConnection | undefined;
  let drain = (): void => undefined;
  let token = '';

  /** Serves until told to stop; rejects when the Worker breaks. */
  const serve = async (): Promise<void> => {
    await deps.ready?.();
    token = await deps.token();
    connection = await deps.connect(token);
    try {
      const worker = await deps.createWorker(connection);
      const shutdown = (): void => {
        if (worker.getState() === 'RUNNING') worker.shutdown();
      };
      stop.signal.addEventListener('abort', shutdown, { once: true });
      drain = shutdown;
      try {
        const running = worker.run();
        log.info('serving');
        // a stop that came while the Worker was being made
        if (stop.signal.aborted) shutdown();
        await running;
      } finally {
        stop.signal.removeEventListener('abort', shutdown);
        drain = () => undefined;
      }
    } finally {
      const closing = connection;
      connection = undefined;
      await closing.close();
    }
  };

  const supervise = async (): Promise<void> => {
    let backoffMs = BACKOFF_MS_MIN;
    while (!stop.signal.aborted) {
      const startedMs = performance.now();
      try {
        await serve();
        if (!stop.signal.aborted) log.warn('worker ended by itself');
      } catch (error) {
        log.error({ error }, 'worker failed, starting it again');
      }
      if (performance.now() - startedMs > HEALTHY_MS_MIN) backoffMs = BACKOFF_MS_MIN;
      await sleep(backoffMs, undefined, { signal: stop.signal }).catch(() => undefined); // rejects only when stopped
      backoffMs = Math.min(backoffMs * 2, BACKOFF_MS_MAX);
    }
  };
  const supervised = supervise();

  return {
    async renewToken() {
      const next = await deps.token();
      if (next === token || !connection) return;
      await connection.setApiKey(next);
      token = next;
      log.debug('token renewed');
    },
    restart: () => drain(),
    async stop() {
      stop.abort();
      await supervised;
    },
  };
}
