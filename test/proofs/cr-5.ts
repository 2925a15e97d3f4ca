import { setTimeout as sleep } from 'node:timers/promises';
import type { Envelope } from '@bulkhead/contract';
import { openGatewayWorld } from '../support/gateway-world.js';
import type { GatewayWorld } from '../support/gateway-world.js';
import { seededRandom } from '../support/random.js';
import type { Random } from '../support/random.js';
import { zeroOf } from './proof.js';
import type { Proof, ProofSize } from './proof.js';

const ROUNDS: Record<ProofSize, number> = { tiny: 1, ci: 1, full: 25 };
/** Past the fence: a host is fenced 7 s after its last beat. */
const STOPPED_MS = 12_000;
/** Temporal gives a call to another host when its attempt has not been heard of for so long. */
const HEARTBEAT_MS = 8_000;
const CALLS = 60;
const TOOLS = ['desk.update', 'desk.send'];
/** The receiver acts at once and takes its time to answer, so that many calls are sent and not answered. */
const RECEIVER_MS = 250;
const BURST_MS = 500;

/**
 * A host is stopped (SIGSTOP) with calls in every stage, past its fence; another one takes them over as Temporal would
 * have it; then the first goes on where it stood. It settles nothing, sends nothing more, and no call acts twice at a
 * receiver that honours keys, nor is one without a key sent twice.
 */
export const run: Proof = async ({ size, progress }) => {
  const random = seededRandom(process.env['SEED'] === undefined ? undefined : Number(process.env['SEED']));
  progress(`SEED=${random.seed}`);
  const world = await openGatewayWorld({ gateways: 1 });
  const faults: string[] = [];
  let taken = 0;
  try {
    world.delayMs = RECEIVER_MS;
    for (let round = 0; round < ROUNDS[size]; round += 1) {
      taken += await oneZombie(world, random, round, faults);
      progress(`round ${round + 1}: ${taken} calls were under way in the host that stood still`);
    }
    faults.push(...(await world.check()).map(({ kind, what }) => `${kind}: ${what}`));
  } finally {
    await world.close();
  }
  return zeroOf('acts, settles and sends of a host that came back', taken, faults);
};

/** Returns how many calls the stopped host held. */
async function oneZombie(
  world: GatewayWorld,
  random: Random,
  round: number,
  faults: string[],
): Promise<number> {
  const { line, gateways, receiver } = world;
  const heir = gateways.all[0]!;
  const zombie = await gateways.start();
  const ours = await line.newRun('acme');
  // what stands still has its connections and knows the tenant
  const first = { envelope: ours, tool: 'desk.update', args: { id: `z${round}-first` } };
  world.note(ours, first.tool, [await world.callUntilAnswered([zombie], first)]);
  const open = new Map<string, { envelope: Envelope; tool: string; args: { id: string } }>();
  const late: string[] = [];
  const before = receiver.log.length;
  let stopped = false;
  for (let n = 0; n < CALLS; n += 1) {
    const id = `z${round}-${n}`;
    const call = { envelope: ours, tool: random.pick(TOOLS), args: { id } };
    open.set(id, call);
    // never awaited as a whole: the process that is asked stands still, and then ends
    void zombie.call(call).then((answered) => {
      if (answered?.answer === undefined) return;
      if (stopped) late.push(`${id} was answered ${answered.answer.kind} by a host that was fenced`);
      else open.delete(id);
      world.note(ours, call.tool, [answered]);
    });
    await sleep(random.below((2 * BURST_MS) / CALLS));
  }
  await arrived(world, before + 1 + random.below(CALLS / 2));
  zombie.pause();
  await sleep(100); // answers that had left it
  stopped = true;
  const [held] = await line.database.asOwner<{ n: number }>(
    "SELECT count(*)::int AS n FROM effects WHERE state = 'open' AND NOT holder_ended AND holder_host = $1",
    [zombie.hostId],
  );
  const goOn = sleep(STOPPED_MS);
  await sleep(HEARTBEAT_MS);
  const answers = await Promise.all(
    [...open.values()].map(async (call) => {
      const answered = await world.callUntilAnswered([heir], call);
      world.note(ours, call.tool, [answered]);
      return { ...answered, tool: call.tool };
    }),
  );
  for (const { ref, tool, answer } of answers) {
    const kinds = tool === 'desk.update' ? ['ok'] : ['ok', 'indeterminate'];
    if (!kinds.includes(answer?.kind ?? '')) faults.push(`${ref} (${tool}) ended as ${answer?.kind}`);
  }
  await goOn;
  const until = receiver.log.length;
  zombie.resume();
  await sleep(3_000);
  const sent = receiver.log.length - until;
  if (sent !== 0) faults.push(`${sent} requests were sent by a host that was fenced`);
  if (!gateways.fencedAt.has(zombie.hostId)) faults.push('the host was not fenced');
  faults.push(...late);
  await zombie.kill();
  return held?.n ?? 0;
}

/** The receiver has seen so many requests. */
async function arrived({ receiver }: GatewayWorld, count: number): Promise<void> {
  for (const until = Date.now() + 10_000; receiver.log.length < count; await sleep(5)) {
    if (Date.now() > until) throw new Error(`only ${receiver.log.length} of ${count} requests arrived`);
  }
}
