import { createHash } from 'node:crypto';
import { canonicalJson } from '@bulkhead/contract';
import type { CallAnswer, Envelope, Json } from '@bulkhead/contract';
import { decideApproval, listApprovals } from '@bulkhead/policy/admin';
import { requestRun } from '@bulkhead/runs/admin';
import type { RunAction } from '@bulkhead/runs/admin';
import { sealArgumentsWith } from '@bulkhead/runtime/codec';
import { storeSecret } from '@bulkhead/secret-broker/admin';
import { createApiKey } from '@bulkhead/tenancy/admin';
import { openLine, SECRET } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';
import { seededRandom } from '../support/random.js';
import type { Random } from '../support/random.js';
import { secondsOf, zeroOf } from './proof.js';
import type { Proof } from './proof.js';

const ROUNDS_MAX = { tiny: 2, ci: 200, full: 5_000 } as const;
const ASK: Json = {
  id: 'ask',
  effect: 'allow',
  tools: ['*'],
  approval: { approvers: ['admin'], expiresInSeconds: 600 },
};

/** What an agent would like to have read instead of what the platform knows. */
const MISLEADING =
  'Summary: only reads one ticket. effect: read, destination: GET https://harmless.example/, credential: none';

interface World {
  readonly line: LineUnderTest;
  readonly host: Host;
  readonly random: Random;
  /** What people approved: the digest of tool and arguments, with how often. */
  readonly approved: Map<string, number>;
  /** What the list said that the call would do, by the same digest: tool, where to, and with which secret. */
  readonly said: Map<string, string>;
  readonly faults: string[];
  attempts: number;
}

/**
 * Each round asks for one call and then tries everything that could make something else happen than what a person read:
 * other arguments, another tool, run, tenant or credential, the approval used twice, given by whoever asked or with
 * another of their keys, given by whoever signalled or reset the run, by a role that may not, or a list that shows other
 * arguments, another destination, effect or credential than are sent, whatever the agent says of it. Every request
 * that the receiver saw must be one that somebody else approved, at most as often as it was approved.
 */
export const run: Proof = async ({ size, progress }) => {
  const line = await openLine();
  const began = performance.now();
  const random = seededRandom();
  progress(`seed ${random.seed}`);
  try {
    for (const tenant of ['acme', 'globex']) await line.publish(tenant, [ASK]);
    const host = await line.newHost();
    const world: World = {
      line,
      host,
      random,
      approved: new Map(),
      said: new Map(),
      faults: [],
      attempts: 0,
    };
    for (
      let i = 0;
      i < ROUNDS_MAX[size] && performance.now() - began < secondsOf(size) * 1_000 * 0.8;
      i += 1
    ) {
      await round(world, i);
      if (i % 20 === 19) progress(`${world.attempts} attempts`);
    }
    compareWithReceiver(world);
    return zeroOf('effects that nobody approved as they were', world.attempts, world.faults);
  } finally {
    await line.close();
  }
};

async function round(world: World, i: number): Promise<void> {
  const { line, random } = world;
  const starter = await createApiKey(line.db('acme'), { name: `starter-${i}`, role: 'admin' });
  const second = await createApiKey(line.db('acme'), { name: `second-${i}`, role: 'admin' });
  await line.database.asOwner('UPDATE api_keys SET owner = $1 WHERE prefix = ANY ($2)', [
    `user:${i}`,
    [starter.prefix, second.prefix],
  ]);
  const steers = await createApiKey(line.db('acme'), { name: `steers-${i}`, role: 'admin' });
  const envelope: Envelope = { ...(await line.newRun('acme')), actor: `key:${starter.prefix}` };
  const tool = random.pick(['desk.update', 'desk.send']);
  const args: Json = {
    id: `T-${i}`,
    text: random.pick(['refund 5', 'refund 500', 'Zahlung \u202e005', '<b>ok</b>', MISLEADING]),
  };
  const asked = await call(world, envelope, tool, args);
  if (asked.kind !== 'approval_required') {
    world.faults.push(`a call that needs approval was answered ${asked.kind}`);
    return;
  }
  await sameAsSent(world, asked.approvalId, tool, args);
  await mustRefuse(world, asked.approvalId, `key:${starter.prefix}`, 'admin', 'whoever asked');
  await mustRefuse(world, asked.approvalId, `key:${second.prefix}`, 'admin', 'another key of whoever asked');
  await mustRefuse(world, asked.approvalId, 'key:other', 'operator', 'a role that may not');
  await steer(world, envelope.runId, `key:${steers.prefix}`);
  await mustRefuse(
    world,
    asked.approvalId,
    `key:${steers.prefix}`,
    'admin',
    'whoever told the run what to do',
  );
  await mustRefuse(world, asked.approvalId, 'key:other', 'admin', 'another tenant', 'globex');
  await call(world, envelope, tool, args);
  await decideApproval(
    line.db('acme'),
    { keyRing: line.keyRing, sealArguments: sealArgumentsWith(line.keyRing) },
    {
      approvalId: asked.approvalId,
      decision: 'approved',
      decidedBy: 'key:boss',
      role: 'admin',
      reason: undefined,
    },
    {},
  );
  const approved = printOf(tool, args);
  world.approved.set(approved, (world.approved.get(approved) ?? 0) + 1);
  await attacksAfterApproval(world, envelope, tool, args);
}

/** By a signal or a reset, as a person asks for it. */
async function steer({ line, random }: World, runId: string, actor: string): Promise<void> {
  // of a workflow that takes signals from people, and under way
  await line.database.asOwner(
    "UPDATE runs SET workflow_type = 'longChain', started_at = now() WHERE id = $1",
    [runId],
  );
  const action = random.pick<RunAction>([
    { kind: 'signal', name: 'enough' },
    { kind: 'reset', point: { to: 'first' } },
  ]);
  const order = { runId, action, reason: 'to have it approved', actor, idempotencyKey: runId };
  await requestRun(line.db('acme'), order, { sealArguments: sealArgumentsWith(line.keyRing) });
}

/** All of them have another key, another digest or another run; then the call itself, thrice. */
async function attacksAfterApproval(
  world: World,
  envelope: Envelope,
  tool: string,
  args: Json,
): Promise<void> {
  const { line, random } = world;
  const other = { ...(args as object), text: 'refund 5000' } as Json;
  await call(world, envelope, tool, other);
  await call(world, envelope, tool === 'desk.send' ? 'desk.update' : 'desk.send', args);
  await call(world, { ...(await line.newRun('acme')), actor: envelope.actor }, tool, args);
  await call(world, await line.newRun('globex'), tool, args);
  await call(world, envelope, tool, args, 1);
  if (random.below(3) === 0) {
    // the credential that would be used is another now
    const boundHost = line.tool.host;
    await storeSecret(line.db('acme'), line.keyRing, {
      name: 'desk',
      access: 'mutate',
      boundHost,
      value: SECRET,
    });
  }
  for (let again = 0; again < 3; again += 1) await call(world, envelope, tool, args);
}

async function call(world: World, by: Envelope, tool: string, args: Json, n = 0): Promise<CallAnswer> {
  world.attempts += 1;
  return world.host.call(by, tool, args, { n });
}

async function mustRefuse(
  world: World,
  approvalId: string,
  decidedBy: string,
  role: string,
  who: string,
  tenant = 'acme',
): Promise<void> {
  const { line } = world;
  world.attempts += 1;
  const decision = { approvalId, decision: 'approved', decidedBy, role, reason: undefined } as const;
  const done = await decideApproval(
    line.db(tenant),
    { keyRing: line.keyRing, sealArguments: sealArgumentsWith(line.keyRing) },
    decision,
    {},
  ).then(
    () => true,
    () => false,
  );
  if (done) world.faults.push(`approved by ${who}`);
}

/** What a person reads must be what is sent, to the character. */
async function sameAsSent(world: World, approvalId: string, tool: string, args: Json): Promise<void> {
  const { nodes } = await listApprovals(world.line.db('acme'), world.line.keyRing, {
    first: 1,
    within: { id: approvalId },
  });
  const shown = nodes.find((node) => node.id === approvalId);
  if (shown?.arguments === undefined || canonicalJson(shown.arguments) !== canonicalJson(args)) {
    world.faults.push('the list shows other arguments than would be sent');
  }
  const { effect, destination, credential } = shown?.consequences ?? {};
  if (effect === undefined || effect === 'read') world.faults.push(`the list calls a change ${effect}`);
  world.said.set(printOf(tool, args), `${destination} with ${credential}`);
}

/** The receiver's log is the truth. */
function compareWithReceiver({ line, approved, said, faults }: World): void {
  const seen = new Map<string, number>();
  for (const { method, path, body } of line.tool.requests) {
    const tool = method === 'PATCH' ? 'desk.update' : 'desk.send';
    const id = decodeURIComponent(path.split('/').at(-1) ?? '');
    const print = printOf(tool, { id, ...(body as object) });
    seen.set(print, (seen.get(print) ?? 0) + 1);
    const done = `${method} http://${line.tool.host}${path} with desk`;
    if (said.get(print) !== done) faults.push(`the list said ${said.get(print)}, and it was ${done}`);
  }
  for (const [print, times] of seen) {
    if (times > (approved.get(print) ?? 0))
      faults.push(`${times} effects, approved ${approved.get(print) ?? 0} times`);
  }
  // a proof in which nothing is ever done would show nothing
  for (const print of approved.keys()) if (!seen.has(print)) faults.push('an approved call was not made');
}

const printOf = (tool: string, args: Json): string =>
  createHash('sha256')
    .update(canonicalJson([tool, args]))
    .digest('hex');
