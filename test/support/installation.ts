import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
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
  /** Ctrl-C; returns the exit code. */
  stop(): Promise<number | null>;
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

/** Starts everything and waits until the demo is told. */
export async function startInstallation(): Promise<TestInstallation> {
  const dataDir = await dataFolder();
  const { child, output, exit } = launch(['--data', dataDir]);
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
  };
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
