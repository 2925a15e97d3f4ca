import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { BulkheadError, CHANNELS, toolId } from '@bulkhead/contract';
import type { CallAnswer, Envelope, HostId, Json } from '@bulkhead/contract';
import { openTenantDoor } from '@bulkhead/prisma/tenant';
import { loadHostConfig } from '@bulkhead/runtime/config';

/**
 * One host of the product without Temporal, a process of its own: the built composition, pulse and stop watch of
 * apps/worker, driven over IPC. Run by Node itself; the argument is a host's configuration file.
 */
const built = (file: string): string => new URL(`../../apps/worker/dist/${file}.js`, import.meta.url).href;
const { composeHost } = (await import(
  built('compose-host')
)) as typeof import('../../apps/worker/src/compose-host.js');
const { createPulse } = (await import(
  built('host/pulse')
)) as typeof import('../../apps/worker/src/host/pulse.js');
const { createStopWatch } = (await import(
  built('host/stop-watch')
)) as typeof import('../../apps/worker/src/host/stop-watch.js');

/** One call as Temporal would bring it. */
export interface GatewayCall {
  readonly envelope: Envelope;
  readonly tool: string;
  readonly args: Json;
  readonly n?: number;
}
/** Calls at a steady pace, each with an id of its own in `args.id`: `<prefix><number>`. */
export interface GatewayLoad extends Omit<GatewayCall, 'args' | 'n'> {
  readonly everyMs: number;
  readonly prefix: string;
}
/** How one attempt ended; times are milliseconds of the epoch on a clock that runs evenly. */
export interface GatewayAnswer {
  readonly ref: string;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly answer?: CallAnswer;
  readonly fault?: string;
}
export type ToGateway =
  | { readonly kind: 'call'; readonly id: number; readonly call: GatewayCall }
  | { readonly kind: 'load'; readonly id: number; readonly load: GatewayLoad }
  | { readonly kind: 'end'; readonly id: number };
export type FromGateway =
  | { readonly kind: 'ready'; readonly hostId: string }
  | { readonly kind: 'answers'; readonly id: number; readonly answers: readonly GatewayAnswer[] };

const BEAT_MS = 1_000;
const nowMs = (): number => performance.timeOrigin + performance.now();
const tell = (message: FromGateway): void => void process.send?.(message);
const complain = (error: unknown): void => console.error(error);

const config = loadHostConfig(process.argv[2]);
const hostId = `gateway-${randomBytes(8).toString('hex')}` as HostId;
const door = openTenantDoor({ ...config.database, onError: complain });
const pulse = createPulse({
  door,
  hostId,
  nowMs: () => performance.now(),
  // as apps/worker's host does
  onFenced: () => process.exit(3),
});
await pulse.register();
const { line, inFlight } = composeHost(config, {
  door,
  pulse,
  hostId,
  onKeyLost: () => undefined,
});
const stops = createStopWatch({ door, hostId, inFlight, onError: complain });
await door.listen(CHANNELS.control, (tenant) => void stops.hint(tenant));
const every = async (step: () => Promise<void>): Promise<never> => {
  for (;;) {
    await step().catch(complain);
    await sleep(BEAT_MS);
  }
};
void every(pulse.beatOnce);
void every(stops.lookOnce);

/** Grants as the kit keeps them: asked for once per run and tool, until they are stale. */
const grants = new Map<string, ReturnType<typeof line.secretBroker>>();

async function attempt({ envelope, tool, args, n = 0 }: GatewayCall): Promise<CallAnswer> {
  const name = toolId(tool);
  const slot = JSON.stringify([envelope.runId, tool]);
  for (let round = 0; ; round += 1) {
    const asked = grants.get(slot) ?? line.secretBroker(envelope, { toolId: name });
    grants.set(slot, asked);
    const grant = await asked.catch((error: unknown) => {
      grants.delete(slot);
      throw error;
    });
    if (grant.kind === 'denied') {
      grants.delete(slot);
      return grant;
    }
    const granted = grant.kind === 'grant' ? { grantId: grant.grantId } : {};
    const request = { toolId: name, args, segment: 0, n, ...granted };
    const answer = await line.toolGateway(envelope, request, {
      workflowId: envelope.runId,
      temporalRunId: randomUUID(),
      attempt: 1,
      host: hostId,
      token: randomUUID(),
      onExpensiveQueue: false,
      signal: new AbortController().signal,
      heartbeat: () => undefined,
    });
    if (answer.kind !== 'grant_stale' || round > 0) return answer;
    grants.delete(slot);
  }
}

async function timed(call: GatewayCall): Promise<GatewayAnswer> {
  const { id } = call.args as { readonly id: string };
  const startedAt = nowMs();
  const ended = (rest: Pick<GatewayAnswer, 'answer' | 'fault'>): GatewayAnswer => ({
    ref: id,
    startedAt,
    endedAt: nowMs(),
    ...rest,
  });
  try {
    return ended({ answer: await attempt(call) });
  } catch (error) {
    return ended({ fault: error instanceof BulkheadError ? error.code : String(error) });
  }
}

const loads = new Map<number, { timer: NodeJS.Timeout; calls: Promise<GatewayAnswer>[] }>();

function startLoad(id: number, { everyMs, prefix, ...call }: GatewayLoad): void {
  const calls: Promise<GatewayAnswer>[] = [];
  const timer = setInterval(
    () => calls.push(timed({ ...call, args: { id: `${prefix}${calls.length}` } })),
    everyMs,
  );
  loads.set(id, { timer, calls });
}

process.on('message', (message: ToGateway) => {
  switch (message.kind) {
    case 'call':
      void timed(message.call).then((answer) => tell({ kind: 'answers', id: message.id, answers: [answer] }));
      break;
    case 'load':
      startLoad(message.id, message.load);
      break;
    case 'end': {
      const load = loads.get(message.id);
      clearInterval(load?.timer);
      loads.delete(message.id);
      void Promise.all(load?.calls ?? []).then((answers) =>
        tell({ kind: 'answers', id: message.id, answers }),
      );
    }
  }
});
process.on('disconnect', () => process.exit(0));
tell({ kind: 'ready', hostId });
