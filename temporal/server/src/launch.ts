import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import type { Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { Connection, isGrpcServiceError } from '@temporalio/client';
import pg from 'pg';
import { Child } from './child.js';
import type { DevServerArguments } from './dev-server.js';
import { endLeftovers } from './leftovers.js';
import { SERVER_ROOM } from './resolve.js';
import type { ServerBinaries } from './resolve.js';

const SERVICES = ['frontend', 'internal-frontend', 'history', 'matching', 'worker'] as const;
const READY_WITHIN_MS = 60_000;
const DOWNLOAD_WITHIN_MS = 300_000;

/** The PostgreSQL that carries Temporal's two databases. */
export interface TemporalPostgres {
  readonly host: string;
  readonly port: number;
  readonly superuser: string;
  /** 0600 file with the password and nothing else. */
  readonly passwordFile: string;
}

export interface TemporalOptions {
  readonly binaries: ServerBinaries;
  readonly dataDir: string;
  readonly postgres: TemporalPostgres;
  /** JWKS whose tokens the authorizer accepts. It must exist before the start. */
  readonly jwksPath: string;
  /** Ports of the front door and of the UI server; free ones when omitted. */
  readonly ports?: { readonly frontend?: number; readonly ui?: number };
  readonly log: (line: string) => void;
  /** A process ended although nobody stopped it. */
  readonly onExit: (name: string, code: number | null, lastLines: string) => void;
}

export interface RunningTemporal {
  /** host:port of the gRPC front door */
  readonly address: string;
  /** http URL of the UI server, for the API's proxy only */
  readonly uiAddress: string;
  readonly enforcesTokens: boolean;
  readonly pids: readonly number[];
  /** Stops the UI, then the server, and waits until they are gone. */
  stop(): Promise<void>;
}

/** A part did not start; the message is one line for a person. */
export class TemporalStartFailed extends Error {
  override readonly name = 'TemporalStartFailed';
}

/** Starts the server and its UI and returns when the front door answers. */
export async function startTemporal(options: TemporalOptions): Promise<RunningTemporal> {
  await mkdir(join(options.dataDir, 'logs'), { recursive: true });
  await endLeftovers(join(options.dataDir, 'logs'), options.log);
  const [frontend = 0, ui = 0, ...inner] = await freePorts(2 + SERVICES.length * 2, [
    options.ports?.frontend,
    options.ports?.ui,
  ]);
  const address = `127.0.0.1:${frontend}`;
  const uiAddress = `http://127.0.0.1:${ui}`;
  const { binaries } = options;
  const parts: Child[] = [];
  const stop = async (): Promise<void> => {
    for (const part of parts.toReversed()) await part.stop();
  };
  try {
    if (binaries.kind === 'dev') {
      options.log('using the development server: namespace tokens are NOT enforced');
      const dev = await startDevServer(options, binaries, frontend, ui);
      parts.push(dev);
      if (binaries.from === 'download') await dev.ready(DOWNLOAD_WITHIN_MS);
      await dev.orFail((signal) => healthy(frontend, signal), READY_WITHIN_MS);
      return { address, uiAddress, enforcesTokens: false, pids: pids(parts), stop };
    }
    await prepareDatabases(options, binaries.sqlTool);
    const passfile = await writePassfile(options);
    const server = await startServer(options, binaries.server, passfile, frontend, inner);
    parts.push(server);
    await server.orFail((signal) => healthy(frontend, signal), READY_WITHIN_MS);
    const uiArgs = ['--root', SERVER_ROOM, '--config', 'config', '--env', 'ui', 'start'];
    const uiServer = await child(options, 'temporal-ui', binaries.ui, uiArgs, {
      TEMPORAL_ADDRESS: address,
      TEMPORAL_UI_PORT: String(ui),
    });
    parts.push(uiServer);
    await uiServer.orFail((signal) => listening(ui, signal), READY_WITHIN_MS);
    return { address, uiAddress, enforcesTokens: true, pids: pids(parts), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function child(
  options: TemporalOptions,
  name: string,
  command: string,
  args: readonly string[],
  env: Record<string, string>,
  ipc = false,
): Promise<Child> {
  return Child.start({
    name,
    command,
    args,
    env,
    ipc,
    logFile: join(options.dataDir, 'logs', `${name}.log`),
    onExit: options.onExit,
  });
}

const pids = (parts: readonly Child[]): number[] => parts.flatMap((part) => part.pid ?? []);

function startServer(
  options: TemporalOptions,
  binary: string,
  passfile: string,
  frontend: number,
  inner: readonly number[],
): Promise<Child> {
  const env: Record<string, string> = {
    PGPASSFILE: passfile,
    TEMPORAL_DB_ADDRESS: `${options.postgres.host}:${options.postgres.port}`,
    TEMPORAL_DB_USER: options.postgres.superuser,
    TEMPORAL_JWKS_URI: pathToFileURL(options.jwksPath).href,
    TEMPORAL_DYNAMIC_CONFIG: join(SERVER_ROOM, 'config', 'dynamic-config.yaml'),
    TEMPORAL_FRONTEND_HTTP_PORT: String(inner[0]),
    TEMPORAL_FRONTEND_MEMBERSHIP_PORT: String(inner[1]),
  };
  for (const [index, service] of SERVICES.entries()) {
    const name = `TEMPORAL_${service.replace('-', '_').toUpperCase()}`;
    env[`${name}_PORT`] = String(index === 0 ? frontend : inner[index * 2]);
    if (index > 0) env[`${name}_MEMBERSHIP_PORT`] = String(inner[index * 2 + 1]);
  }
  const services = SERVICES.flatMap((service) => ['--service', service]);
  return child(
    options,
    'temporal-server',
    binary,
    ['--config-file', join(SERVER_ROOM, 'config', 'server.yaml'), 'start', ...services],
    env,
  );
}

function startDevServer(
  options: TemporalOptions,
  { from, downloadDir }: Extract<ServerBinaries, { kind: 'dev' }>,
  port: number,
  uiPort: number,
): Promise<Child> {
  const dbFilename = join(options.dataDir, 'temporal-dev.sqlite');
  if (from === 'download') {
    const main = fileURLToPath(new URL('./dev-server.js', import.meta.url));
    const told: DevServerArguments = { port, uiPort, dbFilename, downloadDir };
    return child(options, 'temporal-dev', process.execPath, [main, JSON.stringify(told)], {}, true);
  }
  const ports = ['--ip', '127.0.0.1', '--port', String(port), '--ui-port', String(uiPort)];
  const args = [
    'server',
    'start-dev',
    ...ports,
    '--ui-public-path',
    '/temporal',
    '--db-filename',
    dbFilename,
  ];
  return child(options, 'temporal-dev', 'temporal', args, {});
}

/** Creates Temporal's two databases and brings their schemas up to date; 0.5 s the first time. */
async function prepareDatabases(options: TemporalOptions, sqlTool: string): Promise<void> {
  const passfile = await writePassfile(options);
  for (const [database, schema] of [
    ['temporal', 'temporal'],
    ['temporal_visibility', 'visibility'],
  ] as const) {
    const isNew = await createDatabase(options.postgres, database);
    const tool = async (...args: string[]): Promise<void> => {
      const { host, port, superuser } = options.postgres;
      const login = [
        '--plugin',
        'postgres12',
        '--ep',
        host,
        '-p',
        String(port),
        '-u',
        superuser,
        '--db',
        database,
      ];
      try {
        await promisify(execFile)(sqlTool, [...login, ...args], { env: { PGPASSFILE: passfile } });
      } catch (error) {
        const said = `${(error as { stdout?: string }).stdout ?? ''}${(error as { stderr?: string }).stderr ?? ''}`;
        throw new TemporalStartFailed(
          `the schema of ${database} could not be set up: ${said.trim().split('\n').at(-1)}`,
          { cause: error },
        );
      }
    };
    if (isNew) await tool('setup-schema', '-v', '0.0');
    await tool('update-schema', '--schema-name', `postgresql/v12/${schema}`);
  }
  await forgetEarlierServer(options.postgres);
}

/**
 * The table names the ports of the server before this one for 20 s more. A service that tries to join them backs off for
 * up to half a minute and is deaf to SIGTERM meanwhile (seen). This database has one server, and that one is gone.
 */
const forgetEarlierServer = (postgres: TemporalPostgres): Promise<void> =>
  asSuperuser(postgres, 'temporal', async (client) => {
    await client.query('DELETE FROM cluster_membership');
  });

const createDatabase = (postgres: TemporalPostgres, name: string): Promise<boolean> =>
  asSuperuser(postgres, 'postgres', async (client) => {
    const { rowCount } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [name]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${pg.escapeIdentifier(name)}`);
    return rowCount === 0;
  });

async function asSuperuser<T>(
  { host, port, superuser, passwordFile }: TemporalPostgres,
  database: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const password = (await readFile(passwordFile, 'utf8')).trim();
  const client = new pg.Client({ host, port, user: superuser, password, database });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** A pgpass file keeps the password out of arguments and environment (libpq's documented format, 0600 required). */
async function writePassfile(options: TemporalOptions): Promise<string> {
  const path = join(options.dataDir, 'pgpass');
  const password = (await readFile(options.postgres.passwordFile, 'utf8')).trim().replace(/[\\:]/g, '\\$&');
  await writeFile(path, `*:*:*:*:${password}\n`, { mode: 0o600 });
  return path;
}

/**
 * `count` free ports, the first of which are as given. Below 32,768, because the server keeps its services' ports in a
 * smallint column ("value 34087 is out of range"); all sockets are held open together so that none comes twice.
 */
async function freePorts(count: number, given: readonly (number | undefined)[]): Promise<number[]> {
  const held: Server[] = [];
  const ports: number[] = [];
  for (let index = 0; index < count; index += 1) {
    const wanted = given[index];
    if (wanted !== undefined) {
      ports.push(wanted);
      continue;
    }
    const server = await bindBelow(32_768);
    held.push(server);
    ports.push((server.address() as { port: number }).port);
  }
  await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

async function bindBelow(bound: number): Promise<Server> {
  for (;;) {
    const port = randomInt(15_000, bound);
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false)); // taken: try another
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (free) return server;
  }
}

/** Resolves when the front door says SERVING; its health check needs no token. */
async function healthy(port: number, signal: AbortSignal): Promise<void> {
  await listening(port, signal);
  const connection = Connection.lazy({ address: `127.0.0.1:${port}` });
  try {
    while (!(await serves(connection))) await sleep(25, undefined, { signal });
  } finally {
    await connection.close();
  }
}

async function serves(connection: Connection): Promise<boolean> {
  const service = 'temporal.api.workflowservice.v1.WorkflowService';
  try {
    const check = (): ReturnType<typeof connection.healthService.check> =>
      connection.healthService.check({ service });
    const { status } = await connection.withDeadline(Date.now() + 2_000, check);
    return status === 1; // grpc.health.v1 SERVING
  } catch (error) {
    if (isGrpcServiceError(error)) return false; // it listens, but does not answer yet
    throw error;
  }
}

/** Resolves when the port accepts. There is no event for another process's port, so it asks every 25 ms. */
async function listening(port: number, signal: AbortSignal): Promise<void> {
  while (!(await accepts(port))) await sleep(25, undefined, { signal });
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
