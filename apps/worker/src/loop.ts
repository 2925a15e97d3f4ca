import { setTimeout as sleep } from 'node:timers/promises';

export interface LoopOptions {
  readonly name: string;
  readonly log: { error(fields: object, message: string): void };
  /** Ends the loop; a step in progress is awaited. */
  readonly stop: AbortSignal;
  /** Pause after a step that answered `idle`. */
  readonly idleMs: number;
  /** Ends a pause early. */
  readonly wakeup?: Wakeup;
  readonly step: () => Promise<'busy' | 'idle'>;
  /** Longest pause after failures; 10 s unless told. */
  readonly failedMsMax?: number;
}

/** A step that is followed by a pause, whatever it answered. */
export const idleAfter = (step: () => Promise<unknown>) => async (): Promise<'idle'> => {
  await step();
  return 'idle';
};

const FAILED_MS_MIN = 200;
const FAILED_MS_MAX = 10_000;

/**
 * Runs a step again and again until stopped. A step that throws is logged and tried again with backoff: a loop of the
 * control process never ends silently because a dependency was away.
 */
export async function runLoop(options: LoopOptions): Promise<void> {
  let failedMs = FAILED_MS_MIN;
  while (!options.stop.aborted) {
    let pauseMs: number;
    try {
      pauseMs = (await options.step()) === 'busy' ? 0 : options.idleMs;
      failedMs = FAILED_MS_MIN;
    } catch (error) {
      options.log.error({ loop: options.name, error }, 'a step failed, trying again');
      pauseMs = failedMs;
      failedMs = Math.min(failedMs * 2, options.failedMsMax ?? FAILED_MS_MAX);
    }
    if (pauseMs > 0) await pause(pauseMs, options.stop, options.wakeup);
  }
}

/** A hint that there is work. One that comes while nobody waits is kept. */
export interface Wakeup {
  notify(): void;
  /** Resolves at the next hint, at once when one was kept. */
  next(): { readonly promise: Promise<void>; cancel(): void };
}

export function createWakeup(): Wakeup {
  let kept = false;
  let waiting: (() => void) | undefined;
  return {
    notify() {
      kept = true;
      waiting?.();
    },
    next() {
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting = () => {
        kept = false;
        waiting = undefined;
        resolve();
      };
      if (kept) waiting();
      return { promise, cancel: () => void (waiting = undefined) };
    },
  };
}

async function pause(ms: number, stop: AbortSignal, wakeup?: Wakeup): Promise<void> {
  const early = new AbortController();
  const signal = AbortSignal.any([stop, early.signal]);
  const hint = wakeup?.next();
  const timer = sleep(ms, undefined, { signal }).catch(() => undefined); // rejects only because we end it
  await Promise.race(hint ? [timer, hint.promise] : [timer]);
  hint?.cancel();
  early.abort();
}
