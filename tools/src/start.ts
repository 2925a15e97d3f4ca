import { readFile, rm, statfs } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { tellDemo } from './demo/demo.js';
import { startInstallation } from './installation.js';
import type { OwnParts } from './installation.js';
import { endEarlierStart } from './leftovers.js';
import { configuredPorts, PORTS } from './ports.js';

const HELP = `npm start [-- flags]    everything on this machine, then the demo; Ctrl-C stops what was started

  --once        stop everything after the demo; exit 0 only if each run ended as the README says
  --fresh       delete the data folder first
  --data DIR    data folder (default .data)
  --json FILE   also write the demo's results to FILE
  --help        this text

Variables
  DATABASE_URL             your own PostgreSQL (owner login) instead of the embedded one
  TEMPORAL_ADDRESS         your own Temporal; TEMPORAL_API_KEY_FILE and TEMPORAL_TLS=1 for token and TLS
  BULKHEAD_MODEL_URL       an OpenAI-compatible API (.../v1) instead of the scripted model,
                           with BULKHEAD_MODEL (name) and BULKHEAD_MODEL_KEY_FILE or BULKHEAD_MODEL_KEY
${Object.values(PORTS)
  .map(
    ({ variable, what, port }) =>
      `  ${variable.padEnd(24)} port of the ${what} (default ${port}, 0: any free one)`,
  )
  .join('\n')}
`;

/** An ending that a person should read as one line. */
const say = (line: string): void => console.log(line);

async function ownParts(env: NodeJS.ProcessEnv): Promise<OwnParts> {
  const modelUrl = env['BULKHEAD_MODEL_URL'];
  const keyFile = env['BULKHEAD_MODEL_KEY_FILE'];
  const key = keyFile ? (await readFile(keyFile, 'utf8')).trim() : env['BULKHEAD_MODEL_KEY'];
  if (modelUrl && !key)
    throw new Error(
      'BULKHEAD_MODEL_URL is set: give the key too, with BULKHEAD_MODEL_KEY_FILE or BULKHEAD_MODEL_KEY',
    );
  const address = env['TEMPORAL_ADDRESS'];
  const apiKeyFile = env['TEMPORAL_API_KEY_FILE'];
  return {
    ...(env['DATABASE_URL'] ? { databaseUrl: env['DATABASE_URL'] } : {}),
    ...(address
      ? { temporal: { address, tls: env['TEMPORAL_TLS'] === '1', ...(apiKeyFile ? { apiKeyFile } : {}) } }
      : {}),
    ...(modelUrl && key ? { model: { url: modelUrl, name: env['BULKHEAD_MODEL'] ?? 'default', key } } : {}),
  };
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      once: { type: 'boolean', default: false },
      fresh: { type: 'boolean', default: false },
      data: { type: 'string', default: '.data' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    say(HELP);
    return 0;
  }
  const began = performance.now();
  const seconds = (): string => ((performance.now() - began) / 1000).toFixed(1).padStart(6);
  const log = (line: string): void => say(`${seconds()} s  ${line}`);
  const dataDir = resolve(values.data);
  await endEarlierStart(dataDir, log); // before its ports are looked at and its data is deleted
  if (values.fresh) await clear(dataDir);

  const ending = Promise.withResolvers<number>();
  const installation = startInstallation({
    dataDir,
    ports: await configuredPorts(process.env),
    own: await ownParts(process.env),
    log,
    onExit: (name, code, lastLines) => {
      console.error(`${name} ended unexpectedly (${code ?? 'killed'}): ${lastLines}`);
      ending.resolve(1);
    },
  });
  let interrupted = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (!interrupted) log('stopping what was started');
      interrupted = true;
      ending.resolve(0);
    });
  }
  const told = installation.ready.then(async (ready) => {
    const complete = await tellDemo(ready, { dataDir, log, say, json: values.json });
    log(`the demo is over; from start to here ${seconds().trim()} s`);
    if (values.once) ending.resolve(complete ? 0 : 1);
    else say('\nCtrl-C stops everything.');
  });
  told.catch((error: unknown) => {
    if (interrupted) return ending.resolve(0);
    void explain(error, dataDir).then((line) => {
      console.error(line);
      ending.resolve(1);
    });
  });
  const code = await ending.promise;
  await installation.stop();
  return code;
}

/** Everything of an earlier start but what a person may have put there: only folders that we make. */
async function clear(dataDir: string): Promise<void> {
  for (const folder of [
    'config',
    'demo',
    'exports',
    'host',
    'keys',
    'logs',
    'postgres',
    'temporal',
    'tokens',
  ]) {
    await rm(join(dataDir, folder), { recursive: true, force: true });
  }
}

const DISK_FULL = 'the disk is full: free some space and start again';
const FREE_BYTES_MIN = 1024 * 1024;

/** A full disk shows itself in whatever part hits it first, so a failed start is asked for it before anything else. */
async function explain(error: unknown, dataDir: string): Promise<string> {
  try {
    const { bavail, bsize } = await statfs(dataDir);
    if (bavail * bsize < FREE_BYTES_MIN) return DISK_FULL;
    const log = await readFile(join(dataDir, 'logs', 'postgres.log'), 'utf8');
    if (/No space left on device/.test(log.slice(-4_000))) return DISK_FULL;
  } catch {
    // no such folder or log: then it is not the disk
  }
  return describe(error);
}

/** One line for a person; the stack only when the error is a bug of ours. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC') return DISK_FULL;
  const known = [
    'AlreadyRunning',
    'PortProblem',
    'PostgresFailed',
    'NoTemporalServer',
    'TemporalStartFailed',
    'ChildFailed',
    'MigrationFailed',
    'BulkheadError',
    'GraphqlFailure',
    'SettingInvalid',
  ];
  const plain = known.includes(error.name) || error.constructor === Error || code !== undefined;
  return plain ? error.message : (error.stack ?? error.message);
}

// exit, not exitCode: after an interrupt a step of the start may still wait for a part that is gone
process.exit(
  await main().catch((error: unknown) => {
    console.error(describe(error));
    return 1;
  }),
);
