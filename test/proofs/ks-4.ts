import { setTimeout as sleep } from 'node:timers/promises';
import { inject } from 'vitest';
import { buildRevocationId, tenantId } from '@bulkhead/contract';
import type { Envelope } from '@bulkhead/contract';
import { revokeSecrets, storeSecret } from '@bulkhead/secret-broker/admin';
import type { Revocation } from '@bulkhead/secret-broker/admin';
import { randomUlid } from '../support/cross-tenant.js';
import { openCutProxy } from '../support/cut-proxy.js';
import { nowMs, openGatewayWorld, quantile } from '../support/gateway-world.js';
import type { GatewayWorld } from '../support/gateway-world.js';
import { SECRET } from '../support/line.js';
import type { Proof, ProofSize } from './proof.js';

const TRIALS: Record<ProofSize, number> = { tiny: 1, ci: 8, full: 100 };
const GATEWAYS = 4;
const USES_PER_SECOND = 200;
const BEFORE_MS = 400;
const AFTER_MS = 300;
/** What a socket of loopback still carries to the tool when the host has stopped writing. */
const ON_THE_WIRE_MS = 50;
const ANSWER_MS_MAX = 500;
/** A host is fenced 7 s after it was last heard of, and somebody has to look. */
const FENCED_MS_MAX = 10_000;
const TOOL = 'desk.update';

interface Figures {
  readonly faults: string[];
  readonly answeredMs: number[];
  uses: number;
}

/**
 * A secret is revoked under 200 uses a second over four gateway processes; a third of the requests hang. Once the answer
 * says `in force` nothing reaches the tool with it, and no use is admitted after the commit. Last, one gateway is cut
 * off from the database: the answer waits until it is fenced, and it uses nothing later.
 */
export const run: Proof = async ({ size, progress }) => {
  const world = await openGatewayWorld({ gateways: GATEWAYS });
  const figures: Figures = { faults: [], answeredMs: [], uses: 0 };
  try {
    const ours = await world.line.newRun('acme');
    await world.warmUp([ours], TOOL);
    for (let trial = 0; trial < TRIALS[size]; trial += 1) {
      await oneRevocation(world, ours, trial, figures);
      progress(`revocation ${trial + 1}, ${figures.uses} uses`);
    }
    if (size !== 'tiny')
      progress(`a host without a database was waited for, ${await cutOff(world, ours, figures)} ms`);
    figures.faults.push(...(await world.check()).map(({ kind, what }) => `${kind}: ${what}`));
  } finally {
    await world.close();
  }
  const { faults, answeredMs, uses } = figures;
  const p99 = quantile(answeredMs, 0.99);
  return {
    pass: faults.length === 0 && p99 <= ANSWER_MS_MAX && uses > 0,
    figure: Math.round(p99),
    goal: `<= ${ANSWER_MS_MAX} and no use after it`,
    unit: `ms p99 until in force (${uses} uses before)`,
    n: TRIALS[size],
    min: Math.round(Math.min(...answeredMs)),
    max: Math.round(Math.max(...answeredMs)),
    faults: faults.slice(0, 10),
  };
};

const revoke = (world: GatewayWorld, boundMs: number): Promise<Revocation> =>
  revokeSecrets(world.line.db('acme'), {
    id: buildRevocationId(tenantId('acme'), randomUlid()),
    scope: 'secret',
    secret: 'desk',
    version: undefined,
    target: undefined,
    dryRun: false,
    reason: 'a leak',
    actor: 'proof',
    boundMs,
  });

async function oneRevocation(
  world: GatewayWorld,
  ours: Envelope,
  trial: number,
  figures: Figures,
): Promise<void> {
  const seen = world.receiver.log.length;
  let sent = 0;
  world.hangs = () => (sent += 1) % 3 === 0;
  const load = world.load({ envelope: ours, tool: TOOL, perSecond: USES_PER_SECOND, prefix: `r${trial}` });
  await sleep(BEFORE_MS);
  figures.uses += world.receiver.log.length - seen;
  const began = nowMs();
  const { id, inForce } = await revoke(world, 5_000);
  const from = nowMs();
  figures.answeredMs.push(from - began);
  if (!inForce) figures.faults.push(`revocation ${trial} did not come into force within 5 s`);
  await sleep(AFTER_MS);
  world.note(ours, TOOL, await load.end());
  world.inForce.push({ stop: id ?? '', from: from + ON_THE_WIRE_MS, until: nowMs() });
  figures.faults.push(...(await admittedWithRevoked(world)));
  await giveNewValue(world, trial);
}

/** Uses that were admitted after the commit that revoked their version. */
async function admittedWithRevoked({ line }: GatewayWorld): Promise<string[]> {
  const rows = await line.database.asOwner<{ id: string }>(
    `SELECT i.id FROM journal_records i
       JOIN grants g ON g.tenant_id = i.tenant_id AND g.id = i.body->>'grantId'
       JOIN secret_versions v ON v.tenant_id = g.tenant_id AND v.name = g.secret_name AND v.version = g.secret_version AND v.state = 'revoked'
      WHERE i.tenant_id = 'acme' AND i.kind = 'intent'
        AND i.id > (SELECT max(c.id) FROM journal_records c WHERE c.tenant_id = 'acme' AND c.body->>'change' = 'secret_revoked')`,
  );
  return rows.map(({ id }) => `use ${id} was admitted after its secret was revoked`);
}

async function giveNewValue({ line }: GatewayWorld, trial: number): Promise<void> {
  const secret = { name: 'desk', access: 'mutate', boundHost: line.tool.host } as const;
  await storeSecret(line.db('acme'), line.keyRing, { ...secret, value: `${SECRET}-${trial}` });
}

/** A gateway that lives and reaches nobody but the tool. */
async function cutOff(world: GatewayWorld, ours: Envelope, { faults }: Figures): Promise<number> {
  const { postgres } = inject('servers');
  const proxy = await openCutProxy(postgres);
  try {
    const url = new URL(world.line.database.appUrl);
    url.port = String(proxy.port);
    const lonely = await world.gateways.start(url.href);
    world.hangs = () => true;
    // it ends when it is fenced, and its answers with it
    lonely.load({ envelope: ours, tool: TOOL, everyMs: 20, prefix: 'c' });
    await sleep(1_000);
    proxy.cut();
    const began = nowMs();
    const { inForce } = await revoke(world, FENCED_MS_MAX);
    const tookMs = nowMs() - began;
    const from = nowMs();
    if (!inForce) faults.push(`a host that was cut off held the answer for ${tookMs} ms`);
    if (!world.gateways.fencedAt.has(lonely.hostId))
      faults.push('in force, and the host that was cut off not fenced');
    await sleep(1_000);
    proxy.heal();
    await sleep(1_000);
    const late = world.receiver.log.filter(
      ({ ref, at }) => ref.startsWith('c') && at > from + ON_THE_WIRE_MS,
    );
    if (late.length !== 0) faults.push(`${late.length} uses by a host that was fenced`);
    return Math.round(tookMs);
  } finally {
    await proxy.close();
  }
}
