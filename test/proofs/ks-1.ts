import { setTimeout as sleep } from 'node:timers/promises';
import { buildStopId, CHANNELS, tenantId } from '@bulkhead/contract';
import type { Envelope, HostId } from '@bulkhead/contract';
import { setQuota } from '@bulkhead/quota/admin';
import { resumeCalls, stopCalls, untilInForce } from '@bulkhead/tenancy/admin';
import { createStopWatch } from '../../apps/worker/src/host/stop-watch.js';
import { randomUlid } from '../support/cross-tenant.js';
import { openLine } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';
import type { Proof, ProofSize } from './proof.js';

const TRIALS: Record<ProofSize, number> = { tiny: 2, ci: 20, full: 100 };
const HOSTS = 4;
/** 200 calls a second. */
const EVERY_MS = 5;
const BEFORE_KILL_MS = 150;
const AFTER_KILL_MS = 150;
/** What a socket of loopback still carries to the tool when the host has stopped writing. */
const ON_THE_WIRE_MS = 50;
const ABORT_MS_MAX = 250;
const DRILL = { actor: 'proof', reason: 'a kill' };

/**
 * A tenant is killed under 200 calls a second over four gateways; half of the requests hang. No effect is admitted after
 * the kill's commit, nothing reaches the tool after it is in force, what was under way is broken off in time, and another
 * tenant's call goes through meanwhile. The gateways share one process and its two cores with database and tool.
 */
export const run: Proof = async ({ size, progress }) => {
  const line = await openLine();
  const faults: string[] = [];
  const abortedMs: number[] = [];
  const stops: (() => Promise<void>)[] = [];
  try {
    for (const tenant of ['acme', 'globex']) await setQuota(line.db(tenant), 'tool_calls_per_day', 1_000_000);
    const hosts = await Promise.all(Array.from({ length: HOSTS }, () => watchedHost(line, stops)));
    const runs = [await line.newRun('acme'), await line.newRun('globex')] as const;
    for (let trial = 0; trial < TRIALS[size]; trial += 1) {
      faults.push(...(await oneKill(line, hosts, runs, trial, abortedMs)));
      progress(`kill ${trial + 1}, ${abortedMs.length} calls were broken off`);
    }
  } finally {
    await Promise.all(stops.map((stop) => stop()));
    await line.close();
  }
  const sorted = abortedMs.toSorted((a, b) => a - b);
  const p99 = sorted[Math.floor(sorted.length * 0.99)] ?? Number.POSITIVE_INFINITY;
  return {
    pass: faults.length === 0 && p99 <= ABORT_MS_MAX,
    figure: Math.round(p99),
    goal: `<= ${ABORT_MS_MAX} and nothing after it`,
    unit: 'ms p99 from the kill to the end of a call under way',
    n: TRIALS[size],
    min: Math.round(sorted[0] ?? 0),
    max: Math.round(sorted.at(-1) ?? 0),
    faults: faults.slice(0, 10),
  };
};

async function watchedHost(line: LineUnderTest, stops: (() => Promise<void>)[]): Promise<Host> {
  const host = await line.newHost();
  const onError = (error: unknown): void => {
    throw error;
  };
  const watch = createStopWatch({
    door: line.door,
    hostId: host.id as HostId,
    inFlight: host.inFlight,
    onError,
  });
  stops.push(await line.door.listen(CHANNELS.control, (tenant) => void watch.hint(tenant)));
  return host;
}

async function oneKill(
  line: LineUnderTest,
  hosts: readonly Host[],
  [ours, theirs]: readonly [Envelope, Envelope],
  trial: number,
  abortedMs: number[],
): Promise<string[]> {
  const db = line.db('acme');
  const faults: string[] = [];
  let sentAt = 0;
  line.tool.answer = () => ((sentAt += 1) % 2 === 0 ? 'hang' : { done: true });
  const load = startLoad(hosts, ours, trial);
  await sleep(BEFORE_KILL_MS);

  const id = buildStopId(tenantId('acme'), randomUlid());
  await stopCalls(db, { id, scope: 'tenant', target: '', state: 'killed', end: false, ...DRILL });
  const killedAt = performance.now();
  const admitted = await admits(line);
  const stop = await untilInForce(db, id, 5_000);
  if (!stop.inForce) faults.push(`kill ${trial} did not come into force within 5 s`);
  await sleep(ON_THE_WIRE_MS);
  const sent = line.tool.requests.length;
  line.tool.answer = () => ({ done: true });
  const neighbour = await hosts[0]!.call(theirs, 'desk.update', { id: `n${trial}` });
  if (neighbour.kind !== 'ok') faults.push(`the other tenant was answered ${neighbour.kind}`);
  await sleep(AFTER_KILL_MS);
  abortedMs.push(...(await load.stop(killedAt)));

  const late = (await admits(line)) - admitted;
  if (late !== 0) faults.push(`${late} effects were admitted after kill ${trial}`);
  // the other tenant's one request is not ours
  const bytes = line.tool.requests.length - sent - 1;
  if (bytes !== 0) faults.push(`${bytes} requests reached the tool after kill ${trial} was in force`);
  await resumeCalls(db, { id, ...DRILL });
  return faults;
}

async function admits(line: LineUnderTest): Promise<number> {
  const [row] = await line.database.asOwner<{ n: number }>(
    "SELECT count(*)::int AS n FROM journal_records WHERE tenant_id = 'acme' AND kind = 'intent'",
  );
  return row?.n ?? 0;
}

/** Calls at a steady pace; `stop` returns how long after the kill each call that was under way then came back. */
function startLoad(hosts: readonly Host[], ours: Envelope, trial: number) {
  const calls: Promise<{ readonly startedAt: number; readonly endedAt: number }>[] = [];
  let n = 0;
  const timer = setInterval(() => {
    const startedAt = performance.now();
    const host = hosts[n % hosts.length]!;
    n += 1;
    const call = host.call(ours, 'desk.update', { id: `t${trial}-${n}` });
    calls.push(call.then(() => ({ startedAt, endedAt: performance.now() })));
  }, EVERY_MS);
  return {
    async stop(killedAt: number): Promise<number[]> {
      clearInterval(timer);
      const ended = await Promise.all(calls);
      return ended
        .filter(({ startedAt, endedAt }) => startedAt < killedAt && endedAt > killedAt)
        .map(({ endedAt }) => endedAt - killedAt);
    },
  };
}
