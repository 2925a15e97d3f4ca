import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { ensureLogins, migrate } from '@bulkhead/prisma/migrate';
import { resolveServer, startTemporal } from '@bulkhead/temporal-server';
import { ensureKeys, startPostgres } from '@bulkhead/tools/stack';
import type { KeyFiles } from '@bulkhead/tools/stack';
import type { TestDatabase } from './database.js';
import { signalOf } from './installation.js';

/** Servers of a test's own, that may be killed: durable, and on the same ports when they are back. */
export interface KillableServers {
  readonly keys: KeyFiles;
  readonly temporal: { readonly address: string };
  readonly database: TestDatabase;
  /** SIGKILL to the server's first process, and another one on its data and ports; returns when it answers. */
  replace(server: 'postgres' | 'temporal'): Promise<void>;
  close(): Promise<void>;
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const OWNER_WITHIN_MS = 30_000;

export async function openKillableServers(say: (line: string) => void): Promise<KillableServers> {
  const dataDir = join(ROOT, '.data', `killable-${randomBytes(4).toString('hex')}`);
  await mkdir(dataDir, { recursive: true });
  const keys = await ensureKeys(join(dataDir, 'keys'));
  const binaries = await resolveServer({ allowDevServer: false, log: say });
  const told = { log: () => undefined, onExit: (name: string) => say(`${name} ended`) };
  const startDatabase = (port?: number) =>
    startPostgres({ dataDir: join(dataDir, 'postgres'), ...(port === undefined ? {} : { port }), ...told });
  let postgres = await startDatabase();
  const startServer = (ports = {}) =>
    startTemporal({
      binaries,
      dataDir: join(dataDir, 'temporal'),
      postgres,
      jwksPath: keys.temporalJwks,
      ports,
      ...told,
    });
  let temporal = await startServer();
  const { address, uiAddress } = temporal;
  const ports = { frontend: Number(address.split(':')[1]), ui: Number(new URL(uiAddress).port) };
  const database = await prepareDatabase(keys, postgres);
  return {
    keys,
    temporal: { address },
    database,
    async replace(server) {
      if (server === 'postgres') {
        signalOf(postgres.pid, 'SIGKILL');
        await postgres.stop();
        postgres = await startDatabase(postgres.port);
      } else {
        for (const pid of temporal.pids) signalOf(pid, 'SIGKILL');
        await temporal.stop();
        temporal = await startServer(ports);
      }
    },
    async close() {
      await database.drop();
      await temporal.stop();
      await postgres.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

async function prepareDatabase(
  keys: KeyFiles,
  postgres: Awaited<ReturnType<typeof startPostgres>>,
): Promise<TestDatabase> {
  const name = 'bulkhead';
  const secretIn = async (file: string): Promise<string> => (await readFile(file, 'utf8')).trim();
  const url = (user: string, secret: string): string =>
    `postgresql://${user}:${encodeURIComponent(secret)}@${postgres.host}:${postgres.port}/${name}`;
  const ownerUrl = url(postgres.superuser, await secretIn(postgres.passwordFile));
  const [appPassword, controlPassword] = [
    await secretIn(keys.appPassword),
    await secretIn(keys.controlPassword),
  ];
  await migrate(ownerUrl);
  await ensureLogins(ownerUrl, { appPassword, controlPassword });
  const owner = new pg.Pool({ connectionString: ownerUrl, max: 2 });
  owner.on('error', () => undefined); // its server is killed; the next query says what holds
  return {
    name,
    ownerUrl,
    appUrl: url('bulkhead_app', appPassword),
    controlUrl: url('bulkhead_control', controlPassword),
    asOwner: <Row extends pg.QueryResultRow>(sql: string, values: unknown[] = []) =>
      patiently(async () => (await owner.query<Row>(sql, values)).rows),
    drop: () => owner.end(),
  };
}

/** A look that meets a server which is not back yet is taken again. */
async function patiently<T>(look: () => Promise<T>): Promise<T> {
  for (const late = Date.now() + OWNER_WITHIN_MS; ;) {
    try {
      return await look();
    } catch (error) {
      const { code = '' } = error as { code?: string };
      const isAway =
        /^(ECONN|57P0|08)/.test(code) || (error as Error).message.startsWith('Connection terminated');
      if (!isAway || Date.now() > late) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
