import { BulkheadError } from '@bulkhead/contract';
import type { ServerCheck } from '@bulkhead/runtime/server-check';
import { runLoop } from './loop.js';
import type { LoopOptions } from './loop.js';

/** A server that was replaced by another one is asked again within a minute. */
const RECHECK_MS = 60_000;
const AWAY_MS_MAX = 1_000;

export interface ServerWatchOptions {
  readonly log: LoopOptions['log'];
  readonly stop: AbortSignal;
  /** Ends the process: its work may not go on against a server that lets strangers in. */
  readonly fatal: (reason: string) => never;
}

/** Asks the Temporal server again and again what it does with strangers; soon again while it is away. */
export function watchServer(
  server: Pick<ServerCheck, 'checkOnce'>,
  { log, stop, fatal }: ServerWatchOptions,
): Promise<void> {
  const step = async (): Promise<'idle'> => {
    try {
      if ((await server.checkOnce()) === 'away') throw new BulkheadError('TEMPORAL_UNAVAILABLE');
    } catch (error) {
      if (error instanceof BulkheadError && error.code === 'TEMPORAL_UNPROTECTED') fatal(error.message);
      throw error;
    }
    return 'idle';
  };
  return runLoop({ name: 'server', log, stop, idleMs: RECHECK_MS, failedMsMax: AWAY_MS_MAX, step });
}
