import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A whole installation as a user starts it: `node tools/dist/start.js` on free ports and a data folder of its own. */
export interface TestInstallation {
  readonly dataDir: string;
  readonly pid: number;
  /** What the launcher printed so far. */
  output(): string;
  readonly apiUrl: string;
  readonly postgresPort: number;
  readonly temporalAddress: string;
  /** Ctrl-C; returns the exit code. The data folder goes with it. */
  stop(): Promise<number | null>;
  /** `kill -9` to the launcher and all that it started, at once; the data stay as they lie. */
  powerCut(): Promise<void>;
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const READY_WITHIN_MS = 90_000;

export const FREE_PORTS = Object.fromEntries(
  ['API', 'HELPDESK', 'MODEL', 'TEMPORAL', 'TEMPORAL_UI', 'POSTGRES'].map((name) => [
    `BULKHEAD_${name}_PORT`,
    '0',
  ]),
);

/** Starts the launcher; `env` wins over free ports. Output goes to both pipes into one text. */
export function launch(
  args: readonly string[],
  env: Record<string, string> = {},
): { child: ChildProcess; output: () => string; exit: Promise<number | null> } {
  const child = spawn(
    process.execPath,
    ['--enable-source-maps', join(ROOT, 'tools/dist/start.js'), ...args],
    {
      cwd: ROOT,
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...FREE_PORTS, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const exit = once(child, 'close').then(([code]) => code as number | null);
  return { child, output: () => text, exit };
}

/** A data folder inside the checkout: the embedded PostgreSQL's user can reach it where it reaches the binaries. */
export async function dataFolder(): Promise<string> {
  await mkdir(join(ROOT, '.data'), { recursive: true });
  return mkdtemp(join(ROOT, '.data', 'e2e-'));
}

/** Starts everything, on the data of an earlier start or in a prepared folder, and waits until the demo is told; `env` wins over free ports. */
export async function startInstallation(
  earlier?: Pick<TestInstallation, 'dataDir'>,
  env: Record<string, string> = {},
): Promise<TestInstallation> {
  const dataDir = earlier?.dataDir ?? (await dataFolder());
  const { child, output, exit } = launch(['--data', dataDir], env);
  const ended = exit.then((code) => Promise.reject(new Error(`start ended with ${code}:\n${output()}`)));
  await Promise.race([printed(output, 'Ctrl-C stops everything.'), ended]);
  ended.catch(() => undefined); // later it ends because a test stops it
  const found = (pattern: RegExp): string => {
    const match = pattern.exec(output())?.[1];
    if (match === undefined) throw new Error(`the output has no ${pattern}:\n${output()}`);
    return match;
  };
  return {
    dataDir,
    pid: child.pid ?? 0,
    output,
    apiUrl: found(/GraphiQL: (\S+)\/graphiql/),
    postgresPort: Number(found(/PostgreSQL is ready on port (\d+)/)),
    temporalAddress: found(/Temporal is ready on ([\d.]+:\d+)/),
    async stop() {
      child.kill('SIGINT');
      const code = await exit;
      await rm(dataDir, { recursive: true, force: true });
      return code;
    },
    async powerCut() {
      child.kill('SIGKILL'); // first, or it would see its children die and stop the others in peace
      await exit;
      for (let left = await processesOf(dataDir); left.length > 0; left = await processesOf(dataDir)) {
        for (const { pid } of left) signalOf(pid, 'SIGKILL');
      }
    },
  };
}

export interface Running {
  readonly pid: number;
  readonly command: string;
  /** As /proc shows it: `NAME=value` joined by zero bytes. */
  readonly environment: string;
}

/** Everything that runs on a data folder: that stands in its arguments or its environment, or its output goes there. */
export async function processesOf(folder: string): Promise<Running[]> {
  const found: Running[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    try {
      const command = await readFile(`/proc/${pid}/cmdline`, 'utf8');
      const environment = await readFile(`/proc/${pid}/environ`, 'latin1');
      const output = await readlink(`/proc/${pid}/fd/1`);
      if ([command, environment, output].some((text) => text.includes(folder)))
        found.push({ pid: Number(pid), command: command.replaceAll('\0', ' '), environment });
    } catch (error) {
      // it ended meanwhile, or is not ours to look at
      if (!['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? ''))
        throw error;
    }
  }
  return found;
}

/** Sends a signal; a process that is gone is fine. */
export function signalOf(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** There is no event for a line of another process but its arrival; the deadline says what was printed instead. */
export async function printed(output: () => string, text: string): Promise<void> {
  const deadline = Date.now() + READY_WITHIN_MS;
  while (!output().includes(text)) {
    if (Date.now() > deadline) throw new Error(`"${text}" was not printed:\n${output()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export type ApiKeys = Record<string, { operator: string; admin: string }>;

export async function demoApiKeys(installation: TestInstallation): Promise<ApiKeys> {
  return JSON.parse(await readFile(join(installation.dataDir, 'demo', 'api-keys.json'), 'utf8')) as ApiKeys;
}

/** One request to the installation's API, as any client would send it. @throws Error with the answer's errors */
export async function graphql<T>(
  installation: TestInstallation,
  apiKey: string,
  query: string,
  variables: object = {},
): Promise<T> {
  const response = await fetch(`${installation.apiUrl}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${apiKey}` },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = (await response.json()) as { data?: T; errors?: unknown };
  if (errors !== undefined || !data) throw new Error(JSON.stringify(errors));
  return data;
}

/** A login to the embedded database that may do everything. */
export async function ownerLogin(
  installation: TestInstallation,
): Promise<{ host: string; port: number; user: string; password: string }> {
  const file = join(installation.dataDir, 'postgres', 'superuser.password');
  const password = (await readFile(file, 'utf8')).trim();
  return { host: '127.0.0.1', port: installation.postgresPort, user: 'postgres', password };
}
