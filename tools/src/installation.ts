import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureLogins, migrate } from '@bulkhead/prisma/migrate';
import { resolveServer, startTemporal } from '@bulkhead/temporal-server';
import { lifecycleBundlePath, workflowBundlePath } from '@bulkhead/workflows/bundle';
import { writeConfigFiles } from './config-files.js';
import type { ConfigFiles } from './config-files.js';
import { SCRIPTED_MODEL } from './demo/scripted-model.js';
import type { DemoEndpoints } from './demo/tenants.js';
import { ensureKeys } from './keys.js';
import type { KeyFiles } from './keys.js';
import { assertFree } from './ports.js';
import type { PortName } from './ports.js';
import { startPostgres } from './postgres.js';
import { hostMcpServers, startProcess } from './processes.js';
import type { ProcessName } from './processes.js';
import { demoServiceKeys, seed } from './seed.js';
import type { DemoApiKeys } from './seed.js';

/** Parts that the user brings, from the environment of `npm start`. */
export interface OwnParts {
  readonly databaseUrl?: string;
  readonly temporal?: { readonly address: string; readonly apiKeyFile?: string; readonly tls: boolean };
  readonly model?: { readonly url: string; readonly name: string; readonly key: string };
}

export interface InstallationOptions {
  readonly dataDir: string;
  readonly ports: Record<PortName, number>;
  readonly own: OwnParts;
  /** One line for a person; a part is ready or a long step goes on. */
  readonly log: (line: string) => void;
  /** A part ended although nobody stopped it. */
  readonly onExit: (name: string, code: number | null, lastLines: string) => void;
}

export interface Installation {
  readonly apiUrl: string;
  readonly apiKeys: DemoApiKeys;
  readonly modelIsScripted: boolean;
  /** false with a Temporal of one's own: its UI is where it always was. */
  readonly servesTemporalUi: boolean;
  /** Stops what was started, newest first. Safe to call twice, and while the start is still going on. */
  stop(): Promise<void>;
}

/** Everything that one machine needs, in order. What was started before a failure is stopped again. */
export function startInstallation(options: InstallationOptions): {
  ready: Promise<Installation>;
  stop: () => Promise<void>;
} {
  const undo: (() => Promise<void>)[] = [];
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> => (stopped ??= unwind(undo));
  const started = (step: () => Promise<void>): void => {
    undo.push(step);
  };
  const ready = start(options, started, stop).catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  return { ready, stop };
}

async function unwind(undo: (() => Promise<void>)[]): Promise<void> {
  for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
}

type Started = (undo: () => Promise<void>) => void;

async function start(
  options: InstallationOptions,
  started: Started,
  stop: () => Promise<void>,
): Promise<Installation> {
  const { dataDir, ports, log, own } = options;
  refuseHalves(own);
  await assertPortsFree(options);
  const keys = await ensureKeys(join(dataDir, 'keys'));
  const database = await startDatabase(options, started);
  await prepareSchema(database.ownerUrl, keys, log).catch((error: unknown) => {
    throw own.databaseUrl === undefined ? error : databaseProblem(own.databaseUrl, error);
  });
  const temporal = await startTemporalPart(options, keys, database, started);

  const publicUrl = `http://127.0.0.1:${ports.api}`;
  const endpoints = endpointsOf(options);
  const configs = await writeConfigFiles({
    dataDir,
    keys,
    ownerUrl: database.ownerUrl,
    temporal,
    api: { host: '127.0.0.1', port: ports.api, publicUrl, graphiql: true, introspection: true },
    // the demo's own services are on this machine, where tools may not go unless they are told
    host: {
      bundlePath: workflowBundlePath(),
      mcpServers: hostMcpServers(),
      egress: [endpoints.helpdesk, endpoints.model].map(placeOf),
    },
    control: { bundlePath: lifecycleBundlePath() },
    logLevel: 'info',
  });
  const apiKeys = await startDemoServices(options, keys, configs, endpoints, started);
  await startBulkhead(options, configs, started);
  return {
    apiUrl: publicUrl,
    apiKeys,
    modelIsScripted: endpoints.modelName === SCRIPTED_MODEL,
    servesTemporalUi: temporal.uiAddress !== undefined,
    stop,
  };
}

/** Before anything is touched: a database of one's own must not be migrated by a start that cannot be. */
function refuseHalves({ databaseUrl, temporal }: OwnParts): void {
  if (databaseUrl === undefined) return;
  if (!/^postgres(ql)?:\/\//.test(databaseUrl) || !URL.canParse(databaseUrl))
    throw new Error('DATABASE_URL is no address of the form postgresql://user:password@host:port/database');
  if (temporal === undefined)
    throw new Error(
      'with DATABASE_URL set, TEMPORAL_ADDRESS must be set too: the built Temporal server runs on the embedded PostgreSQL',
    );
}

/** Names the variable and the server, and never the address itself, which holds a password. */
function databaseProblem(url: string, error: unknown): Error {
  const { message, code } = error as NodeJS.ErrnoException; // a host with two addresses fails without a message
  return new Error(`DATABASE_URL, the server ${new URL(url).host}: ${message || code}`, { cause: error });
}

/** All of them first: a taken port is told before anything was started. */
async function assertPortsFree({ ports, own }: InstallationOptions): Promise<void> {
  const needed: PortName[] = ['api', 'helpdesk'];
  if (!own.model) needed.push('model');
  if (!own.databaseUrl) needed.push('postgres');
  if (!own.temporal) needed.push('temporal', 'temporalUi');
  for (const name of needed) await assertFree(name, ports[name]);
}

interface Database {
  readonly ownerUrl: string;
  readonly server?: { host: string; port: number; superuser: string; passwordFile: string };
}

async function startDatabase(options: InstallationOptions, started: Started): Promise<Database> {
  const { own, ports, log, onExit } = options;
  if (own.databaseUrl !== undefined) {
    log(`database: your own at ${new URL(own.databaseUrl).host}`);
    return { ownerUrl: own.databaseUrl };
  }
  const postgres = await startPostgres({
    dataDir: join(options.dataDir, 'postgres'),
    port: ports.postgres,
    log,
    onExit,
  });
  started(() => postgres.stop());
  const password = (await readFile(postgres.passwordFile, 'utf8')).trim();
  log(`PostgreSQL is ready on port ${postgres.port}`);
  return {
    ownerUrl: `postgresql://${postgres.superuser}:${password}@${postgres.host}:${postgres.port}/bulkhead`,
    server: postgres,
  };
}

async function prepareSchema(ownerUrl: string, keys: KeyFiles, log: (line: string) => void): Promise<void> {
  const { total, applied } = await migrate(ownerUrl);
  const read = async (file: string): Promise<string> => (await readFile(file, 'utf8')).trim();
  await ensureLogins(ownerUrl, {
    appPassword: await read(keys.appPassword),
    controlPassword: await read(keys.controlPassword),
  });
  log(
    applied
      ? `applied the database schema (${total} migrations)`
      : `the database schema is up to date (${total} migrations)`,
  );
}

interface TemporalPart {
  readonly address: string;
  readonly uiAddress?: string;
  readonly enforcesTokens: boolean;
  readonly apiKeyFile?: string;
  readonly tls?: boolean;
}

async function startTemporalPart(
  options: InstallationOptions,
  keys: KeyFiles,
  database: Database,
  started: Started,
): Promise<TemporalPart> {
  const { own, ports, log, onExit } = options;
  if (own.temporal !== undefined) {
    const { address, apiKeyFile, tls } = own.temporal;
    log(`Temporal: your own at ${address}; whether namespace tokens are enforced is up to it`);
    return { address, tls, enforcesTokens: false, ...(apiKeyFile === undefined ? {} : { apiKeyFile }) };
  }
  if (database.server === undefined) throw new TypeError('no embedded PostgreSQL to run Temporal on');
  const binaries = await resolveServer({ allowDevServer: true, log });
  const temporal = await startTemporal({
    binaries,
    dataDir: join(options.dataDir, 'temporal'),
    postgres: database.server,
    jwksPath: keys.temporalJwks,
    ports: { frontend: ports.temporal, ui: ports.temporalUi },
    log,
    onExit,
  });
  started(() => temporal.stop());
  log(
    `Temporal is ready on ${temporal.address}${temporal.enforcesTokens ? ', one token per tenant enforced' : ' (development server: namespace tokens are not enforced)'}`,
  );
  return {
    address: temporal.address,
    uiAddress: temporal.uiAddress,
    enforcesTokens: temporal.enforcesTokens,
  };
}

const endpointsOf = ({ ports, own }: InstallationOptions): DemoEndpoints => ({
  helpdesk: `http://127.0.0.1:${ports.helpdesk}`,
  model: own.model?.url ?? `http://127.0.0.1:${ports.model}/v1`,
  modelName: own.model?.name ?? SCRIPTED_MODEL,
});

/** `host:port` of a URL, the port written out. */
function placeOf(address: string): string {
  const url = new URL(address);
  return `${url.hostname}:${url.port || (url.protocol === 'https:' ? 443 : 80)}`;
}

async function startDemoServices(
  options: InstallationOptions,
  keys: KeyFiles,
  configs: ConfigFiles,
  endpoints: DemoEndpoints,
  started: Started,
): Promise<DemoApiKeys> {
  const { own, ports, log } = options;
  const demo = join(options.dataDir, 'demo');
  const serviceKeys = await demoServiceKeys(demo, own.model?.key);
  const serve = (name: ProcessName, file: string, port: number): Promise<void> =>
    startOne(options, started, { name, args: ['--config', file, '--port', String(port)] });
  await serve('helpdesk', serviceKeys.files.helpdesk, ports.helpdesk);
  if (!own.model) await serve('scripted-model', serviceKeys.files.model, ports.model);
  const { database } = JSON.parse(await readFile(configs.host, 'utf8')) as { database: { url: string } };
  const apiKeys = await seed({
    appUrl: database.url,
    masterKeyPath: keys.master,
    endpoints,
    serviceKeys,
    apiKeysFile: join(demo, 'api-keys.json'),
  });
  log(`demo services are ready, tenants ${Object.keys(apiKeys).join(' and ')} are seeded`);
  return apiKeys;
}

async function startBulkhead(
  options: InstallationOptions,
  configs: ConfigFiles,
  started: Started,
): Promise<void> {
  await startOne(options, started, { name: 'control', configFile: configs.control });
  await Promise.all([
    startOne(options, started, { name: 'host', configFile: configs.host }),
    startOne(options, started, { name: 'api', configFile: configs.api }),
  ]);
  options.log('control, host and API are ready');
}

async function startOne(
  options: InstallationOptions,
  started: Started,
  what: { name: ProcessName; configFile?: string; args?: readonly string[] },
): Promise<void> {
  const child = await startProcess({ ...what, logs: join(options.dataDir, 'logs'), onExit: options.onExit });
  started(() => child.stop());
}
