import type { Logger } from 'pino';
import { createLog } from './log.js';

/** What a main does once it serves. */
export interface Running {
  /** Ends cleanly: nothing new begins, what runs is finished or given back. */
  stop(): Promise<void>;
}

interface Main<Config extends { readonly log: { readonly level: string } }> {
  readonly name: string;
  readonly load: () => Config;
  /** `fatal` ends the process at once, without a drain: for a process that may no longer act. */
  readonly start: (config: Config, log: Logger, fatal: (reason: string) => never) => Promise<Running>;
}

/** EX_SOFTWARE and EX_CONFIG of sysexits.h: supervisors tell a bug from a wrong file. */
const EXIT_FATAL = 70;
const EXIT_CONFIG = 78;
/** A drain that takes longer is cut short; supervisors kill after 30 s. */
const STOP_MS_MAX = 25_000;

/**
 * Runs a main: load, start, tell the parent, stop on SIGTERM or SIGINT. A start that fails is one line and an exit
 * code; so is a fault that nobody caught, because a process in an unknown state must not go on admitting effects.
 */
export async function runMain<Config extends { readonly log: { readonly level: string } }>(
  main: Main<Config>,
): Promise<void> {
  const config = loadOrExit(main);
  const log = createLog(main.name, config.log.level);
  let stopping = false;
  let running: Running | undefined;
  const fatal = (reason: string, fields: object = {}): never => {
    log.fatal(fields, reason);
    process.exit(EXIT_FATAL);
  };
  const stop = async (): Promise<void> => {
    if (stopping) return;
    stopping = true;
    setTimeout(() => fatal('did not stop in time'), STOP_MS_MAX).unref();
    try {
      await running?.stop();
    } catch (error) {
      fatal('did not stop cleanly', { error });
    }
    process.exit(0);
  };
  process.on('uncaughtException', (error) => fatal('uncaught', { error }));
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop());
  // the launcher is gone and nobody would ever stop this process
  if (process.send) process.on('disconnect', () => void stop());
  try {
    running = await main.start(config, log, fatal);
  } catch (error) {
    fatal('cannot start', { error });
  }
  log.info('ready');
  process.send?.({ type: 'ready', pid: process.pid });
}

function loadOrExit<Config extends { readonly log: { readonly level: string } }>(main: Main<Config>): Config {
  try {
    return main.load();
  } catch (error) {
    createLog(main.name, 'fatal').fatal(error instanceof Error ? error.message : String(error));
    process.exit(EXIT_CONFIG);
  }
}
