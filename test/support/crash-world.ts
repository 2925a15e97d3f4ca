import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Json, RunId, TenantId } from '@bulkhead/contract';
import { callKey } from '../../activities/tool-gateway/src/call-key.js';
import { makeDemoTenant } from './demo-tenant.js';
import { checkHistory, readLedgers } from './history-checker.js';
import type { Violation } from './history-checker.js';
import { openHostWorld } from './host-world.js';
import type { HostWorld } from './host-world.js';
import { createReceiver } from './receiver.js';
import type { Receiver } from './receiver.js';
import { grant } from './quotas.js';

/** How a tenant's tool may be repeated; the receiver of the `keyed` one honours keys, that of the other knows none. */
export type Habit = 'keyed' | 'none';
export const TOOL = 'helpdesk.ticket.update';

/** Runs on the product's processes whose changes go to a receiver that keeps books. */
export interface CrashWorld {
  readonly world: HostWorld;
  readonly tenants: Readonly<Record<Habit, TenantId>>;
  readonly receivers: Readonly<Record<Habit, Receiver>>;
  /** Resolves when a request comes, or has been answered. */
  next(event: 'request' | 'answer'): Promise<void>;
  /** A run of that many calls, one after the other. */
  accept(habit: Habit, calls: number): Promise<void>;
  /** Waits until every accepted run has completed, and returns how often each kind's calls ended how: `{ 'none ok': 12 }`. */
  completed(timeoutMs: number): Promise<Record<string, number>>;
  /** Compares the books of both tenants. */
  check(): Promise<readonly Violation[]>;
  close(): Promise<void>;
}

interface AcceptedRun {
  readonly id: RunId;
  readonly habit: Habit;
  readonly ticketId: string;
  readonly calls: number;
  outcomes: readonly string[];
}

/** @param delayMs how long the receivers take to answer once they have acted */
export async function openCrashWorld(delayMs: number): Promise<CrashWorld> {
  const world = await openHostWorld({ delayMs: 0 });
  const receivers = {
    keyed: createReceiver({ honoursKeys: true }),
    none: createReceiver({ honoursKeys: false }),
  };
  const waiting = { request: new Set<() => void>(), answer: new Set<() => void>() };
  const wake = (event: 'request' | 'answer'): void => {
    for (const resolve of waiting[event]) resolve();
    waiting[event].clear();
  };
  const server = await listen(async (request, response) => {
    const [, habit, ticketId] = new URL(request.url ?? '', 'http://x').pathname.split('/');
    const { answer } = JSON.parse(await textOf(request)) as { answer: string };
    const key = request.headers['idempotency-key'];
    receivers[habit as Habit].book(refOf(ticketId ?? '', answer), typeof key === 'string' ? key : undefined);
    wake('request');
    await sleep(delayMs);
    response.on('finish', () => wake('answer'));
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"done":true}');
  });
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const tenantOf = async (habit: Habit): Promise<TenantId> => {
    const change = (id: string, spec: Json): Json => (id === TOOL ? toolAt(base, habit, spec) : spec);
    const tenant = await makeDemoTenant(world.door, world.keyRing, world.services, { like: 'acme', change });
    await grant(world.door.tenant(tenant), 'tool_calls_per_day', 1_000_000);
    return tenant;
  };
  const tenants = { keyed: await tenantOf('keyed'), none: await tenantOf('none') };
  const runs: AcceptedRun[] = [];
  return {
    world,
    tenants,
    receivers,
    next: (event) => new Promise((resolve) => waiting[event].add(resolve)),
    async accept(habit, calls) {
      const ticketId = `T-${runs.length}`;
      const input = { ticketId, segments: 1, callsPerSegment: calls };
      const id = await world.accept(tenants[habit], 'long-chain', input);
      runs.push({ id, habit, ticketId, calls, outcomes: [] });
    },
    async completed(timeoutMs) {
      const until = Date.now() + timeoutMs;
      for (const run of runs) {
        await world.until(tenants[run.habit], run.id, 'completed', Math.max(1_000, until - Date.now()));
        const done = await world.runOf(tenants[run.habit], run.id);
        const result = done?.result as
          { readonly steps: readonly { readonly outcome: string }[] } | undefined;
        run.outcomes = result?.steps.map(({ outcome }) => outcome) ?? [];
      }
      const counts: Record<string, number> = {};
      for (const { habit, outcomes } of runs) {
        for (const outcome of outcomes) {
          counts[`${habit} ${outcome}`] = (counts[`${habit} ${outcome}`] ?? 0) + 1;
        }
      }
      return counts;
    },
    check: async () =>
      (
        await Promise.all(
          (['keyed', 'none'] as const).map((habit) => booksOf(world, tenants, receivers, runs, habit)),
        )
      ).flat(),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await world.close();
    },
  };
}

/** What a call of `longChain` is about. */
const refOf = (ticketId: string, answer: string): string => `${ticketId} ${answer}`;

async function booksOf(
  world: HostWorld,
  tenants: CrashWorld['tenants'],
  receivers: CrashWorld['receivers'],
  runs: readonly AcceptedRun[],
  habit: Habit,
): Promise<readonly Violation[]> {
  const keys = new Map<string, string>();
  const acks: { ref: string; outcome: string }[] = [];
  for (const { id, ticketId, calls, outcomes } of runs.filter((run) => run.habit === habit)) {
    for (let part = 1; part <= calls; part += 1) {
      const args = { ticketId, answer: `part ${part} of ${calls}` };
      const ref = refOf(ticketId, args.answer);
      keys.set(
        ref,
        callKey({ tenantId: tenants[habit], workflowId: id, segment: 0, toolId: TOOL, args, n: 0 }),
      );
      acks.push({ ref, outcome: outcomes[part - 1] ?? 'no answer' });
    }
  }
  const ledgers = await readLedgers(world.database, tenants[habit]);
  const received = receivers[habit].log;
  return checkHistory({ ...ledgers, received, acks, keys, inForce: [], fencedAt: new Map() });
}

function toolAt(base: string, habit: Habit, spec: Json): Json {
  const { credential: _, ...rest } = spec as { credential: Json };
  return { ...rest, idempotency: habit, url: `${base}/${habit}/{ticketId}` };
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function listen(
  handler: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
): Promise<Server> {
  const server = createServer((request, response) => {
    // a caller that was killed in the middle of its request is what this is for
    handler(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}
