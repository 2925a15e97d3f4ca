import { setTimeout as sleep } from 'node:timers/promises';
import { tenantId } from '@bulkhead/contract';
import type { Envelope } from '@bulkhead/contract';
import { callKey } from '../../activities/tool-gateway/src/call-key.js';
import type { GatewayAnswer, GatewayCall } from './gateway-process.js';
import { openGateways } from './gateways.js';
import type { Gateway, Gateways } from './gateways.js';
import { checkHistory, readLedgers } from './history-checker.js';
import type { InForce, Violation } from './history-checker.js';
import { openLine } from './line.js';
import type { LineUnderTest } from './line.js';
import { createReceiver } from './receiver.js';
import type { Receiver } from './receiver.js';
import { grant } from './quotas.js';

/** Several gateways as processes of their own, one receiver that keeps books, and everything the checker needs of acme. */
export interface GatewayWorld {
  readonly line: LineUnderTest;
  readonly gateways: Gateways;
  readonly receiver: Receiver;
  /** Whether this request hangs for ever; none does unless told. */
  hangs: (ref: string) => boolean;
  /** How long the receiver takes to answer, once it has acted. */
  delayMs: number;
  /** One call asked again and again at these gateways in turn, as Temporal would, until it is answered or 30 s are over. */
  callUntilAnswered(over: readonly Gateway[], call: GatewayCall): Promise<GatewayAnswer>;
  /** Starts `perSecond` calls a second of that run, spread over the gateways that are given. */
  load(options: LoadOptions): Load;
  /** Notes what a caller of acme was told, for the checker. */
  note(envelope: Envelope, tool: string, answers: readonly GatewayAnswer[]): void;
  readonly inForce: InForce[];
  /** Every gateway has made its connections and knows the tenants: what is measured is not its first call. */
  warmUp(envelopes: readonly Envelope[], tool: string): Promise<void>;
  /** Compares acme's books. */
  check(): Promise<readonly Violation[]>;
  close(): Promise<void>;
}

/** The tenant whose books are compared. */
const OURS = tenantId('acme');
const WARM_UP_MS = 700;
const ANSWERED_MS_MAX = 30_000;
const RETRY_MS = 200;

export interface LoadOptions {
  readonly envelope: Envelope;
  readonly tool: string;
  readonly perSecond: number;
  readonly prefix: string;
  readonly over?: readonly Gateway[];
}
export interface Load {
  end(): Promise<readonly GatewayAnswer[]>;
}

/** The wall clock of all processes here, with the parts of a millisecond. */
export const nowMs = (): number => performance.timeOrigin + performance.now();

export async function openGatewayWorld(options: {
  readonly gateways: number;
  readonly honoursKeys?: boolean;
}): Promise<GatewayWorld> {
  const line = await openLine();
  for (const tenant of ['acme', 'globex']) await grant(line.db(tenant), 'tool_calls_per_day', 10_000_000);
  const receiver = createReceiver({ honoursKeys: options.honoursKeys ?? true });
  const keys = new Map<string, string>();
  const acks: { ref: string; outcome: string }[] = [];
  const inForce: InForce[] = [];
  line.tool.answer = ({ path, headers }) => {
    const ref = path.split('/').at(-1) ?? '';
    const key = headers['idempotency-key'];
    receiver.book(ref, typeof key === 'string' ? key : undefined);
    if (world.hangs(ref)) return 'hang';
    return world.delayMs === 0 ? { done: true } : sleep(world.delayMs, { done: true });
  };
  const gateways = await openGateways(line, options.gateways);
  const world: GatewayWorld = {
    line,
    gateways,
    receiver,
    hangs: () => false,
    delayMs: 0,
    async callUntilAnswered(over, call) {
      for (const until = nowMs() + ANSWERED_MS_MAX, turn = [...over]; ;) {
        const gateway = turn.shift()!;
        turn.push(gateway);
        const answered = await gateway.call(call);
        if (answered?.answer !== undefined) return answered;
        if (nowMs() > until) throw new Error(`no answer: ${answered?.fault ?? 'the process ended'}`);
        await sleep(RETRY_MS);
      }
    },
    load({ envelope, tool, perSecond, prefix, over = gateways.all }) {
      const everyMs = (1_000 / perSecond) * over.length;
      const ends = over.map((gateway, n) =>
        gateway.load({ envelope, tool, everyMs, prefix: `${prefix}-${n}-` }),
      );
      return { end: async () => (await Promise.all(ends.map((end) => end()))).flat() };
    },
    note(envelope, toolId, answers) {
      if (envelope.tenantId !== OURS) return;
      const call = { tenantId: envelope.tenantId, workflowId: envelope.runId, segment: 0, toolId, n: 0 };
      for (const { ref, answer } of answers) {
        keys.set(ref, callKey({ ...call, args: { id: ref } }));
        if (answer?.kind === 'ok') acks.push({ ref, outcome: 'ok' });
      }
    },
    inForce,
    async warmUp(envelopes, tool) {
      for (const envelope of envelopes) {
        const load = world.load({ envelope, tool, perSecond: 100, prefix: `w-${envelope.tenantId}` });
        await sleep(WARM_UP_MS);
        world.note(envelope, tool, await load.end());
      }
    },
    async check() {
      const ledgers = await readLedgers(line.database, OURS);
      const received = receiver.log.filter(({ ref }) => keys.has(ref));
      const { fencedAt } = gateways;
      return checkHistory({ ...ledgers, received, acks, keys, inForce, fencedAt });
    },
    async close() {
      await gateways.close();
      await line.close();
    },
  };
  return world;
}

/** The value below which `share` of them lie; infinite without values. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.POSITIVE_INFINITY;
}
