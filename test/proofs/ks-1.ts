import { setTimeout as sleep } from 'node:timers/promises';
import { buildStopId, tenantId } from '@bulkhead/contract';
import type { Envelope } from '@bulkhead/contract';
import { resumeCalls, stopCalls, untilInForce } from '@bulkhead/tenancy/admin';
import { randomUlid } from '../support/cross-tenant.js';
import { nowMs, openGatewayWorld, quantile } from '../support/gateway-world.js';
import type { GatewayWorld } from '../support/gateway-world.js';
import type { Proof, ProofSize } from './proof.js';

const TRIALS: Record<ProofSize, number> = { tiny: 1, ci: 10, full: 100 };
const GATEWAYS = 4;
const CALLS_PER_SECOND = 200;
const NEIGHBOURS_PER_SECOND = 40;
const BEFORE_KILL_MS = 400;
const AFTER_KILL_MS = 400;
/** What a socket of loopback still carries to the tool when the host has stopped writing. */
const ON_THE_WIRE_MS = 50;
const ABORT_MS_MAX = 250;
/** A host is fenced 7 s after it was last heard of, and somebody has to look. */
const FENCED_MS_MAX = 10_000;
const DRILL = { actor: 'proof', reason: 'a kill' };

interface Figures {
  readonly faults: string[];
  readonly abortedMs: number[];
  /** How long calls of the other tenant took, before kills and after them. */
  readonly neighbours: { readonly before: number[]; readonly after: number[] };
}

/**
 * A tenant is killed under 200 calls a second over four gateway processes; half of the requests hang. No effect is
 * admitted after the kill's commit, nothing reaches the tool once it is in force, what was under way is broken off in
 * time, another tenant goes on. Last, one of the gateways hears nothing: the answer waits until it is fenced.
 */
export const run: Proof = async ({ size, progress }) => {
  const world = await openGatewayWorld({ gateways: GATEWAYS });
  const figures: Figures = { faults: [], abortedMs: [], neighbours: { before: [], after: [] } };
  try {
    const runs = [await world.line.newRun('acme'), await world.line.newRun('globex')] as const;
    await world.warmUp(runs, 'desk.update');
    for (let trial = 0; trial < TRIALS[size]; trial += 1) {
      await oneKill(world, runs, trial, figures);
      progress(`kill ${trial + 1}, ${figures.abortedMs.length} calls were broken off`);
    }
    if (size !== 'tiny')
      progress(`a deaf host was waited for, ${await deafHost(world, runs[0], figures)} ms`);
    figures.faults.push(...(await world.check()).map(({ kind, what }) => `${kind}: ${what}`));
  } finally {
    await world.close();
  }
  const { faults, abortedMs, neighbours } = figures;
  const p99 = quantile(abortedMs, 0.99);
  const ratio = quantile(neighbours.after, 0.99) / quantile(neighbours.before, 0.99);
  return {
    pass: faults.length === 0 && p99 <= ABORT_MS_MAX,
    figure: Math.round(p99),
    goal: `<= ${ABORT_MS_MAX} and nothing after it`,
    unit: `ms p99 from the kill to the end of a request under way (the neighbour's p99 x${ratio.toFixed(2)})`,
    n: TRIALS[size],
    min: Math.round(Math.min(...abortedMs)),
    max: Math.round(Math.max(...abortedMs)),
    faults: faults.slice(0, 10),
  };
};

async function oneKill(
  world: GatewayWorld,
  [ours, theirs]: readonly [Envelope, Envelope],
  trial: number,
  { faults, abortedMs, neighbours }: Figures,
): Promise<void> {
  const db = world.line.db('acme');
  let sent = 0;
  world.hangs = (ref) => ref.startsWith('o') && (sent += 1) % 2 === 0;
  const tool = 'desk.update';
  const seen = world.line.tool.requests.length;
  const load = world.load({ envelope: ours, tool, perSecond: CALLS_PER_SECOND, prefix: `o${trial}` });
  const beside = world.load({
    envelope: theirs,
    tool,
    perSecond: NEIGHBOURS_PER_SECOND,
    prefix: `n${trial}`,
  });
  await sleep(BEFORE_KILL_MS);

  const id = buildStopId(tenantId('acme'), randomUlid());
  await stopCalls(db, { id, scope: 'tenant', target: '', state: 'killed', end: false, ...DRILL });
  const killedAt = nowMs();
  const stop = await untilInForce(db, id, 5_000);
  const inForceAt = nowMs();
  if (!stop.inForce) faults.push(`kill ${trial} did not come into force within 5 s`);
  await sleep(AFTER_KILL_MS);
  const [answers, others] = await Promise.all([load.end(), beside.end()]);
  world.inForce.push({ stop: id, from: inForceAt + ON_THE_WIRE_MS, until: nowMs() });
  await resumeCalls(db, { id, ...DRILL });

  world.note(ours, tool, answers);
  for (const { path, at, closedAt = nowMs() } of world.line.tool.requests.slice(seen)) {
    if (path.startsWith('/things/o') && at < killedAt && closedAt > killedAt)
      abortedMs.push(closedAt - killedAt);
  }
  for (const { startedAt, endedAt, answer } of others) {
    if (answer?.kind !== 'ok') faults.push(`the other tenant was answered ${answer?.kind ?? 'a fault'}`);
    neighbours[startedAt < killedAt ? 'before' : 'after'].push(endedAt - startedAt);
  }
}

/** A gateway that stands still with requests under way: `in force` is answered when it is fenced, and it sends nothing later. */
async function deafHost(world: GatewayWorld, ours: Envelope, { faults }: Figures): Promise<number> {
  const db = world.line.db('acme');
  const deaf = world.gateways.all[0]!;
  const tool = 'desk.update';
  world.hangs = () => true;
  // its answers die with it
  deaf.load({ envelope: ours, tool, everyMs: 20, prefix: 'd' });
  await sleep(500);
  deaf.pause();
  const id = buildStopId(tenantId('acme'), randomUlid());
  const began = nowMs();
  await stopCalls(db, { id, scope: 'tenant', target: '', state: 'killed', end: false, ...DRILL });
  const early = await untilInForce(db, id, 3_000);
  if (early.inForce)
    faults.push('in force although a host with calls under way had not been heard or fenced');
  const stop = await untilInForce(db, id, FENCED_MS_MAX);
  const tookMs = nowMs() - began;
  if (!stop.inForce || tookMs > FENCED_MS_MAX) faults.push(`a deaf host held the answer for ${tookMs} ms`);
  if (!world.gateways.fencedAt.has(deaf.hostId)) faults.push('the deaf host was not fenced');
  const before = world.receiver.log.length;
  deaf.resume();
  await sleep(1_500);
  const late = world.receiver.log.length - before;
  if (late !== 0) faults.push(`${late} requests of a host that was fenced reached the tool`);
  await resumeCalls(db, { id, ...DRILL });
  return Math.round(tookMs);
}
