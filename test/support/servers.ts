import { randomBytes } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { ensureLogins, migrate } from '@bulkhead/prisma/migrate';
import { resolveServer, startTemporal } from '@bulkhead/temporal-server';
import type { ServerBinaries } from '@bulkhead/temporal-server';
import { ensureKeys, startPostgres } from '@bulkhead/tools/stack';
import type { KeyFiles, RunningPostgres } from '@bulkhead/tools/stack';
import type { TestProject } from 'vitest/node';

/** What test files share: one PostgreSQL and one Temporal server, started once. Everything else is per file. */
export interface Servers {
  readonly postgres: { host: string; port: number; superuser: string; passwordFile: string };
  readonly template: string;
  readonly appPassword: string;
  readonly controlPassword: string;
  readonly temporal: { address: string; uiAddress: string };
  readonly keys: KeyFiles;
  readonly dataDir: string;
}

declare module 'vitest' {
  interface ProvidedContext {
    servers: Servers;
  }
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Starts the real servers for the integration project, and stops them at its end. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dataDir = join(ROOT, '.data', `test-${randomBytes(4).toString('hex')}`);
  const log = (line: string): void => console.log(`[servers] ${line}`);
  const onExit = (name: string, code: number | null): void =>
    console.error(`[servers] ${name} ended with ${code}`);
  const keys = await ensureKeys(join(dataDir, 'keys'));
  const binaries = await resolveServer({ allowDevServer: false, log });
  const postgres = await startPostgres({ dataDir: join(dataDir, 'postgres'), fast: true, log, onExit });
  const undo: (() => Promise<void>)[] = [
    () => rm(dataDir, { recursive: true, force: true }),
    () => postgres.stop(),
  ];
  const teardown = async (): Promise<void> => {
    for (const step of undo.toReversed()) await step();
  };
  try {
    await provideServers(project, { dataDir, keys, binaries, postgres, log, onExit }, undo);
  } catch (error) {
    await teardown(); // or the servers outlive the runner
    throw error;
  }
  return teardown;
}

interface Started {
  readonly dataDir: string;
  readonly keys: KeyFiles;
  readonly binaries: ServerBinaries;
  readonly postgres: RunningPostgres;
  readonly log: (line: string) => void;
  readonly onExit: (name: string, code: number | null) => void;
}

async function provideServers(
  project: TestProject,
  started: Started,
  undo: (() => Promise<void>)[],
): Promise<void> {
  const { dataDir, keys, binaries, postgres, log, onExit } = started;
  const temporal = await startTemporal({
    binaries,
    dataDir: join(dataDir, 'temporal'),
    postgres,
    jwksPath: keys.temporalJwks,
    log,
    onExit,
  });

  undo.push(() => temporal.stop());
  const password = (await readFile(postgres.passwordFile, 'utf8')).trim();
  const owner = `postgresql://${postgres.superuser}:${password}@${postgres.host}:${postgres.port}`;
  await migrate(`${owner}/bulkhead_template`);
  const [appPassword, controlPassword] = await Promise.all(
    [keys.appPassword, keys.controlPassword].map(async (file) => (await readFile(file, 'utf8')).trim()),
  );
  if (!appPassword || !controlPassword) throw new Error('the passwords of the database logins are empty');
  await ensureLogins(`${owner}/bulkhead_template`, { appPassword, controlPassword });
  await closeTemplate(owner);

  project.provide('servers', {
    postgres: {
      host: postgres.host,
      port: postgres.port,
      superuser: postgres.superuser,
      passwordFile: postgres.passwordFile,
    },
    template: 'bulkhead_template',
    appPassword,
    controlPassword,
    temporal: { address: temporal.address, uiAddress: temporal.uiAddress },
    keys,
    dataDir,
  });
}

/** A template can be cloned only while nobody is connected to it. */
async function closeTemplate(owner: string): Promise<void> {
  const client = new pg.Client({ connectionString: `${owner}/postgres` });
  await client.connect();
  await client.query('ALTER DATABASE bulkhead_template WITH ALLOW_CONNECTIONS false');
  await client.query(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'bulkhead_template'",
  );
  await client.end();
}
