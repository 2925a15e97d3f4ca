import { setTimeout as sleep } from 'node:timers/promises';
import { BulkheadError, buildStopId, tenantId } from '@bulkhead/contract';
import type { Envelope, Json } from '@bulkhead/contract';
import { publishPolicy, setPolicyMode } from '@bulkhead/policy/admin';
import { resumeCalls, stopCalls, untilInForce } from '@bulkhead/tenancy/admin';
import { randomUlid } from '../support/cross-tenant.js';
import { nowMs, openGatewayWorld } from '../support/gateway-world.js';
import type { GatewayWorld } from '../support/gateway-world.js';
import { ALLOW_ALL } from '../support/line.js';
import { seededRandom } from '../support/random.js';
import type { Random } from '../support/random.js';
import { zeroOf } from './proof.js';
import type { Proof, ProofSize } from './proof.js';

const TRIALS: Record<ProofSize, number> = { tiny: 2, ci: 10, full: 100 };
const EDITS_PER_TRIAL = 12;
const GATEWAYS = 2;
const CALLS_PER_SECOND = 60;
const BEFORE_MS = 300;
const AFTER_MS = 300;
const ON_THE_WIRE_MS = 50;
const BY = { publishedBy: 'proof', reason: 'an edit' };
const DRILL = { actor: 'proof', reason: 'hold still' };

interface Counts {
  readonly faults: string[];
  edits: number;
  reads: number;
}

/**
 * A tenant is frozen, or made read-only, under reads and changes at once, while somebody publishes policies. No change is
 * admitted after the commit and none arrives once it is in force, reads go on, and while frozen no edit lands but an
 * added deny or ask rule.
 */
export const run: Proof = async ({ size, progress }) => {
  const random = seededRandom(process.env['SEED'] === undefined ? undefined : Number(process.env['SEED']));
  progress(`SEED=${random.seed}`);
  const world = await openGatewayWorld({ gateways: GATEWAYS });
  const counts: Counts = { faults: [], edits: 0, reads: 0 };
  try {
    const ours = await world.line.newRun('acme');
    await world.warmUp([ours], 'desk.update');
    for (let trial = 0; trial < TRIALS[size]; trial += 1) {
      await oneStop(world, random, ours, trial, counts);
      progress(`stop ${trial + 1}, ${counts.edits} edits, ${counts.reads} reads meanwhile`);
    }
    counts.faults.push(...(await world.check()).map(({ kind, what }) => `${kind}: ${what}`));
  } finally {
    await world.close();
  }
  if (counts.reads === 0) counts.faults.push('no read was answered while changes were stopped');
  return zeroOf(
    'changes admitted or edits landed under a freeze',
    TRIALS[size] + counts.edits,
    counts.faults,
  );
};

async function oneStop(
  world: GatewayWorld,
  random: Random,
  ours: Envelope,
  trial: number,
  counts: Counts,
): Promise<void> {
  const state = trial % 2 === 0 ? 'frozen' : 'read_only';
  const db = world.line.db('acme');
  const each = { envelope: ours, perSecond: CALLS_PER_SECOND };
  const changes = world.load({ ...each, tool: 'desk.update', prefix: `u${trial}` });
  const reads = world.load({ ...each, tool: 'desk.read', prefix: `r${trial}` });
  await sleep(BEFORE_MS);
  const id = buildStopId(tenantId('acme'), randomUlid());
  // an edit that is on its way when the freeze commits: the journal says which of the two came first
  const racing = edit(world, random, () => true, counts, KEEPING_RULES);
  await stopCalls(db, { id, scope: 'tenant', target: '', state, end: false, ...DRILL });
  const stop = await untilInForce(db, id, 5_000);
  const from = nowMs() + ON_THE_WIRE_MS;
  if (!stop.inForce) counts.faults.push(`${state} ${trial} did not come into force within 5 s`);
  if (state === 'frozen') {
    for (let n = 0; n < EDITS_PER_TRIAL; n += 1) await edit(world, random, (narrows) => narrows, counts);
  }
  await Promise.all([racing, sleep(AFTER_MS)]);
  const until = nowMs();
  world.inForce.push({ stop: id, from, until, covers: (ref) => ref.startsWith('u') });
  const [changed, read] = await Promise.all([changes.end(), reads.end()]);
  world.note(ours, 'desk.update', changed);
  world.note(ours, 'desk.read', read);
  const meanwhile = read.filter(({ startedAt, endedAt }) => startedAt > from && endedAt < until);
  const refused = meanwhile.filter(({ answer }) => answer?.kind !== 'ok');
  counts.reads += meanwhile.length;
  if (refused.length > 0) counts.faults.push(`${refused.length} reads were not answered under ${state}`);
  if (state === 'frozen') counts.faults.push(...(await landedBetween(world, id)));
  await resumeCalls(db, { id, ...DRILL });
  await publishPolicy(db, { profile: 'default', document: { rules: [ALLOW_ALL] }, ...BY });
}

/** Documents that somebody could publish over rules that are in force, and whether each only takes something away. */
const EDITS: readonly ((
  rules: readonly Json[],
  id: string,
) => { document: { rules: Json[]; mode?: string }; narrows: boolean })[] = [
  (rules, id) => ({ document: { rules: [...rules, rule(id, 'deny')] }, narrows: true }),
  (rules, id) => ({ document: { rules: [rule(id, 'deny'), ...rules], mode: 'enforce' }, narrows: true }),
  (rules, id) => ({ document: { rules: [...rules, rule(id, 'ask')] }, narrows: true }),
  (rules, id) => ({ document: { rules: [...rules, rule(id, 'allow')] }, narrows: false }),
  (rules, id) => ({ document: { rules: [...rules, rule(id, 'limit')] }, narrows: false }),
  (rules, id) => ({ document: { rules: [...rules.slice(1), rule(id, 'deny')] }, narrows: false }),
  (rules, id) => ({ document: { rules: [...rules, rule(id, 'deny')], mode: 'observe' }, narrows: false }),
  (rules, id) => ({
    document: { rules: [...rules, rule(id, 'deny'), rule(`${id}-a`, 'allow')] },
    narrows: false,
  }),
  (rules) => ({ document: { rules: [...rules], mode: 'frozen' }, narrows: false }),
  () => ({ document: { rules: [] }, narrows: false }),
];

/** Those that leave in force the rule under which the reads go on, and the mode. */
const KEEPING_RULES = EDITS.filter((make) => {
  const { rules, mode = 'enforce' } = make([ALLOW_ALL], 'x').document;
  return rules.includes(ALLOW_ALL) && mode === 'enforce';
});

function rule(id: string, effect: 'allow' | 'deny' | 'ask' | 'limit'): Json {
  const more: Record<typeof effect, object> = {
    allow: {},
    deny: {},
    ask: { approval: { approvers: ['admin'], expiresInSeconds: 60 } },
    limit: { limit: { max: 1_000, per: 'day', of: 'run' } },
  };
  return { id, effect, tools: ['open.send'], ...more[effect] };
}

async function edit(
  { line }: GatewayWorld,
  random: Random,
  mayLand: (narrows: boolean) => boolean,
  counts: Counts,
  edits = EDITS,
): Promise<void> {
  const db = line.db('acme');
  const [head] = await line.database.asOwner<{ document: { rules: Json[] } }>(
    `SELECT p.document FROM policies p JOIN policy_heads h USING (tenant_id, profile, version) WHERE p.tenant_id = 'acme' AND p.profile = 'default'`,
  );
  const rules = head?.document.rules ?? [];
  const id = `r-${randomUlid()}`;
  const { document, narrows } = random.pick(edits)(rules, id);
  // some change the mode, or begin a profile
  const way = edits === EDITS ? random.below(5) : 2;
  counts.edits += 1;
  try {
    if (way === 0) await setPolicyMode(db, { profile: 'default', mode: 'observe', ...BY });
    else await publishPolicy(db, { profile: way === 1 ? `new-${id}` : 'default', document, ...BY });
    if (!mayLand(narrows && way > 1)) counts.faults.push(`landed: ${JSON.stringify(document)}`);
  } catch (error) {
    if (!(error instanceof BulkheadError) || error.code !== 'INVALID_STATE') throw error;
    if (narrows && way > 1) counts.faults.push(`refused: ${JSON.stringify(document)}`);
  }
}

/** What the journal says was published between the freeze's commit and now: each version holds all rules of the one before. */
async function landedBetween({ line }: GatewayWorld, stop: string): Promise<string[]> {
  const rows = await line.database.asOwner<{ version: number; before: Json[]; after: Json[] }>(
    `SELECT p.version, b.document->'rules' AS before, p.document->'rules' AS after
       FROM journal_records j
       JOIN policies p ON p.tenant_id = j.tenant_id AND p.profile = j.body->>'profile' AND p.version = (j.body->>'version')::int
       LEFT JOIN policies b ON b.tenant_id = p.tenant_id AND b.profile = p.profile AND b.version = p.version - 1
      WHERE j.tenant_id = 'acme' AND j.body->>'change' = 'policy_published'
        AND j.id > (SELECT id FROM journal_records WHERE tenant_id = 'acme' AND body->>'change' = 'stopped' AND body->>'stop' = $1)`,
    [stop],
  );
  return rows
    .filter(({ before, after }) => {
      const kept = new Set(after.map((one) => JSON.stringify(one)));
      const known = new Set((before ?? []).map((one) => JSON.stringify(one)));
      const added = after.filter((one) => !known.has(JSON.stringify(one))) as { effect: string }[];
      return (
        before === null ||
        [...known].some((one) => !kept.has(one)) ||
        added.some(({ effect }) => effect !== 'deny' && effect !== 'ask')
      );
    })
    .map(({ version }) => `version ${version} landed after the freeze and does more than narrow`);
}
