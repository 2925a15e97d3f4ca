import { setTimeout as sleep } from 'node:timers/promises';
import { signalOf } from './installation.js';
import type { RunningMain } from './processes.js';
import { seededRandom } from './random.js';
import type { Random } from './random.js';

/** Kills, pauses and starts the processes of a test by their pid. What it does and when hangs on its seed alone. */
export interface FaultDriver<Name extends string> {
  readonly random: Random;
  /** Each fault so far, e.g. `kill host`. */
  readonly done: readonly string[];
  process(name: Name): RunningMain;
  /** SIGKILL; nothing takes its place until `start`. */
  kill(name: Name): Promise<void>;
  start(name: Name): Promise<void>;
  /** SIGKILL, and another one in its place. */
  replace(name: Name): Promise<void>;
  /** Starts again what ended by itself, as whoever runs an installation does. */
  revive(): Promise<void>;
  /** SIGSTOP, and SIGCONT after that time. */
  pause(name: Name, ms: number): Promise<void>;
  /** SIGTERM to all that run. */
  stop(): Promise<void>;
}

/** Starts one process of each kind. The seed is the environment's SEED where given, and is told to `say`. */
export async function openFaultDriver<Name extends string>(
  starts: Readonly<Record<Name, () => Promise<RunningMain>>>,
  say: (line: string) => void,
): Promise<FaultDriver<Name>> {
  const random = seededRandom(process.env['SEED'] === undefined ? undefined : Number(process.env['SEED']));
  say(`SEED=${random.seed}`);
  const running = new Map<Name, RunningMain>();
  const done: string[] = [];
  const over = new WeakSet<RunningMain>();
  const processOf = (name: Name): RunningMain => {
    const main = running.get(name);
    if (!main) throw new Error(`${name} does not run`);
    return main;
  };
  const driver: FaultDriver<Name> = {
    random,
    done,
    process: processOf,
    async kill(name) {
      const main = processOf(name);
      running.delete(name);
      done.push(`kill ${name}`);
      await main.kill();
    },
    async start(name) {
      const main = await starts[name]();
      running.set(name, main);
      void main.ended.then(() => over.add(main));
    },
    async replace(name) {
      await driver.kill(name);
      await driver.start(name);
    },
    async revive() {
      for (const name of running.keys()) if (over.has(processOf(name))) await driver.start(name);
    },
    async pause(name, ms) {
      const { pid } = processOf(name);
      done.push(`pause ${name}`);
      signalOf(pid, 'SIGSTOP');
      await sleep(ms);
      signalOf(pid, 'SIGCONT');
    },
    async stop() {
      await Promise.all([...running.values()].map((main) => main.stop()));
    },
  };
  for (const name of Object.keys(starts) as Name[]) await driver.start(name);
  return driver;
}
