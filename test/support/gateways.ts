import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inject } from 'vitest';
import { createSealer } from '@bulkhead/journal/control';
import { workflowBundlePath } from '@bulkhead/workflows/bundle';
import { createHostFencer } from '../../apps/worker/src/control/host-fencer.js';
import { idleAfter, runLoop } from '../../apps/worker/src/loop.js';
import type { FromGateway, GatewayAnswer, GatewayCall, GatewayLoad, ToGateway } from './gateway-process.js';
import type { LineUnderTest } from './line.js';
import { signalOf } from './installation.js';

/** One gateway of several, a process of its own. */
export interface Gateway {
  readonly hostId: string;
  readonly pid: number;
  /** One attempt, as Temporal would bring it; undefined: the process ended before it answered. */
  call(call: GatewayCall): Promise<GatewayAnswer | undefined>;
  /** Starts calls at a steady pace; the function that comes back ends them and returns how each one went. */
  load(load: GatewayLoad): () => Promise<readonly GatewayAnswer[]>;
  /** SIGSTOP: it hears and does nothing until `resume`. */
  pause(): void;
  resume(): void;
  /** SIGKILL; returns when it is gone. */
  kill(): Promise<void>;
}

export interface Gateways {
  readonly all: readonly Gateway[];
  start(databaseUrl?: string): Promise<Gateway>;
  /** When this process fenced which host, milliseconds of the epoch. */
  readonly fencedAt: ReadonlyMap<string, number>;
  close(): Promise<void>;
}

const MAIN = fileURLToPath(new URL('./gateway-process.ts', import.meta.url));
const POOL_MAX = 12;

/** `count` gateways on the line's database, with what the control process does for them: sealing and fencing. */
export async function openGateways(line: LineUnderTest, count: number): Promise<Gateways> {
  const folder = await mkdtemp(join(tmpdir(), 'bulkhead-gateways-'));
  const all: Gateway[] = [];
  const fencedAt = new Map<string, number>();
  const start = async (databaseUrl = line.database.appUrl): Promise<Gateway> => {
    const gateway = await startGateway(folder, databaseUrl);
    all.push(gateway);
    return gateway;
  };
  const stop = new AbortController();
  const loops = controlLoops(line, stop.signal, (host) => fencedAt.set(host, Date.now()));
  for (let n = 0; n < count; n += 1) await start();
  return {
    all,
    start,
    fencedAt,
    async close() {
      await Promise.all(all.map((gateway) => gateway.kill()));
      stop.abort();
      await loops;
      await rm(folder, { recursive: true });
    },
  };
}

async function controlLoops(
  line: LineUnderTest,
  stop: AbortSignal,
  onFenced: (host: string) => void,
): Promise<void> {
  const faults: unknown[] = [];
  const log = {
    error: (fields: object) => void faults.push(fields),
    warn: (fields: object) => onFenced((fields as { readonly host: string }).host),
  };
  const fencer = createHostFencer({ control: line.control, log, nowMs: () => performance.now() });
  const sealer = createSealer({ control: line.control, onError: (error) => void faults.push(error) });
  await Promise.all([
    sealer.run(stop),
    runLoop({ name: 'fence', log, stop, idleMs: 1_000, step: idleAfter(() => fencer.fenceOnce()) }),
  ]);
  if (faults.length > 0) console.error('sealing or fencing failed', faults.slice(0, 3));
}

async function startGateway(folder: string, databaseUrl: string): Promise<Gateway> {
  const { keys } = inject('servers');
  const name = `gateway-${process.hrtime.bigint()}`;
  const configFile = join(folder, `${name}.json`);
  const config = {
    role: 'host',
    database: { url: databaseUrl, poolMax: POOL_MAX },
    // not used: nothing here speaks to Temporal
    temporal: { address: '127.0.0.1:1', enforcesTokens: true, tokensDir: folder },
    keys: { master: keys.master, envelopePublic: keys.envelopePublic },
    host: {
      bundlePath: workflowBundlePath(),
      dataDir: folder,
      mcpServers: {},
      egress: { allow: ['127.0.0.0/8'] },
    },
    log: { level: 'info' },
  };
  await writeFile(configFile, JSON.stringify(config), { mode: 0o600 });
  const child = fork(MAIN, [configFile], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    execArgv: ['--enable-source-maps'],
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'] },
  });
  const log = createWriteStream(join(folder, `${name}.log`), { mode: 0o600 });
  child.stdout?.pipe(log);
  child.stderr?.pipe(log, { end: false });
  return speakTo(child);
}

async function speakTo(child: ChildProcess): Promise<Gateway> {
  const waiting = new Map<number, (answers: readonly GatewayAnswer[] | undefined) => void>();
  const ready = Promise.withResolvers<string>();
  child.on('message', (message: FromGateway) => {
    if (message.kind === 'ready') return ready.resolve(message.hostId);
    waiting.get(message.id)?.(message.answers);
    waiting.delete(message.id);
  });
  const gone = once(child, 'exit').then(([code]) => {
    ready.reject(new Error(`a gateway ended with ${code} before it was ready`));
    for (const resolve of waiting.values()) resolve(undefined);
    waiting.clear();
  });
  const hostId = await ready.promise;
  let last = 0;
  const isAlive = (): boolean => child.exitCode === null && child.signalCode === null;
  const send = (message: ToGateway): void => {
    // a process that has just ended is no error: its calls end as undefined
    if (isAlive() && child.connected) child.send(message, () => undefined);
  };
  const answersTo = (id: number): Promise<readonly GatewayAnswer[] | undefined> =>
    isAlive() ? new Promise((resolve) => waiting.set(id, resolve)) : Promise.resolve(undefined);
  const pid = child.pid ?? 0;
  return {
    hostId,
    pid,
    async call(call) {
      const id = (last += 1);
      const answers = answersTo(id);
      send({ kind: 'call', id, call });
      return (await answers)?.[0];
    },
    load(load) {
      const id = (last += 1);
      send({ kind: 'load', id, load });
      return async () => {
        const answers = answersTo(id);
        send({ kind: 'end', id });
        return (await answers) ?? [];
      };
    },
    pause: () => signalOf(pid, 'SIGSTOP'),
    resume: () => signalOf(pid, 'SIGCONT'),
    async kill() {
      if (isAlive()) signalOf(pid, 'SIGKILL');
      await gone;
    },
  };
}
