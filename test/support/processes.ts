import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A main of apps as a process of its own, from dist: `npm run build` must have run. */
export interface RunningMain {
  readonly pid: number;
  /** Where the API listens; 0 for the others. */
  readonly port: number;
  readonly logFile: string;
  /** Resolves to the exit code when it ends, by whatever cause. */
  readonly ended: Promise<number | null>;
  /** SIGTERM; returns the exit code. */
  stop(): Promise<number | null>;
  /** SIGKILL, as a machine that dies. */
  kill(): Promise<void>;
}

const READY_MS_MAX = 20_000;

const MAINS = {
  api: '../../apps/api/dist/main.js',
  control: '../../apps/worker/dist/control.js',
  host: '../../apps/worker/dist/host.js',
};

/** Writes the configuration (0600), starts the main and waits until it says that it serves. */
export async function startMain(
  name: keyof typeof MAINS,
  dataDir: string,
  config: object,
): Promise<RunningMain> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const configFile = join(dataDir, `${name}-${process.hrtime.bigint()}.json`);
  const logFile = configFile.replace(/json$/, 'log');
  await writeFile(configFile, JSON.stringify(config), { mode: 0o600 });
  const child = fork(fileURLToPath(new URL(MAINS[name], import.meta.url)), {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    execArgv: ['--enable-source-maps'],
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], BULKHEAD_CONFIG: configFile },
  });
  const log = createWriteStream(logFile, { mode: 0o600 });
  child.stdout?.pipe(log);
  child.stderr?.pipe(log, { end: false });
  const port = await ready(name, child, logFile);
  const ended = once(child, 'exit').then(() => child.exitCode);
  return {
    pid: child.pid ?? 0,
    port,
    logFile,
    ended,
    async stop() {
      child.kill('SIGTERM');
      return ended;
    },
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

function ready(name: string, child: ChildProcess, logFile: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${name} is not ready, see ${logFile}`)), READY_MS_MAX);
    child.once('message', (message: { port?: number }) => {
      clearTimeout(timer);
      resolve(message.port ?? 0);
    });
    child.once('exit', (code) => {
      clearTimeout(timer);
      reject(new Error(`${name} ended with ${code}, see ${logFile}`));
    });
  });
}
