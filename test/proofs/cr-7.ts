import { setTimeout as sleep } from 'node:timers/promises';
import type { Json, RunId, TenantId } from '@bulkhead/contract';
import { decideApproval, publishPolicy } from '@bulkhead/policy/admin';
import { requestRun } from '@bulkhead/runs/admin';
import { sealArgumentsWith } from '@bulkhead/runtime/codec';
import { makeDemoTenant } from '../support/demo-tenant.js';
import { openFaultDriver } from '../support/fault-driver.js';
import type { FaultDriver } from '../support/fault-driver.js';
import { openHostWorld } from '../support/host-world.js';
import type { HostWorld } from '../support/host-world.js';
import { zeroOf } from './proof.js';
import type { Proof, ProofSize } from './proof.js';

const KILLS: Record<ProofSize, number> = { tiny: 1, ci: 3, full: 90 };
const ASKING_RUNS = 3;
const IN_FLIGHT_MS_MAX = 400;
/** Short, so that its timer runs out around a kill; long enough for a busy machine to have asked by then. */
const BRIEF_SECONDS = 6;
const ENDED_MS = 90_000;
const READY_MS = 60_000;

interface Tenants {
  /** Its changes wait for a person. */
  readonly asks: TenantId;
  /** Likewise, and nobody comes in time. */
  readonly brief: TenantId;
  /** Its runs go on until they are told that it is enough. */
  readonly talks: TenantId;
}
interface Round {
  readonly asked: readonly RunId[];
  readonly expiring: RunId;
  readonly told: RunId;
  /** Of two people who decide on each approval at once, those who heard that they did. */
  readonly decided: number;
}

/**
 * Approvals, a timer and a signal are in flight while the host, the control process or every connection of the database
 * is killed. No approval is lost and none counts twice, what nobody approves expires, what is told is heard.
 */
export const run: Proof = async ({ size, progress }) => {
  const world = await openHostWorld({ delayMs: 0 });
  const faults: string[] = [];
  const rounds: Round[] = [];
  try {
    const tenants = await tenantsOf(world);
    const first = world.control;
    let isFirst = true;
    const startControl = () => (isFirst ? ((isFirst = false), Promise.resolve(first)) : world.startControl());
    const driver = await openFaultDriver({ host: world.startHost, control: startControl }, progress);
    try {
      for (let kill = 0; kill < KILLS[size]; kill += 1) {
        const fault = FAULTS[kill % FAULTS.length]!;
        rounds.push(await oneRound(world, driver, tenants, fault));
        progress(`kill ${kill + 1}, ${fault}`);
      }
      for (const round of rounds) faults.push(...(await verdict(world, tenants, round)));
    } finally {
      await driver.stop();
    }
  } finally {
    await world.close();
  }
  return zeroOf('approvals, timers and signals lost or doubled', rounds.length * (ASKING_RUNS + 2), faults);
};

const FAULTS = ['host', 'control', 'connections'] as const;
type Driver = FaultDriver<'host' | 'control'>;

async function tenantsOf(world: HostWorld): Promise<Tenants> {
  const like = (like: 'acme' | 'globex'): Promise<TenantId> =>
    makeDemoTenant(world.door, world.keyRing, world.services, { like });
  const tenants = { asks: await like('globex'), brief: await like('globex'), talks: await like('acme') };
  const rule: Json = {
    id: 'writes-need-approval',
    effect: 'allow',
    tools: ['helpdesk.ticket.update'],
    approval: { approvers: ['admin'], expiresInSeconds: BRIEF_SECONDS },
  };
  const publication = { profile: 'default', publishedBy: 'proof', reason: 'soon' };
  await publishPolicy(world.door.tenant(tenants.brief), { ...publication, document: { rules: [rule] } });
  return tenants;
}

async function oneRound(
  world: HostWorld,
  driver: Driver,
  tenants: Tenants,
  fault: (typeof FAULTS)[number],
): Promise<Round> {
  const chain = (tenant: TenantId, segments: number): Promise<RunId> =>
    world.accept(tenant, 'long-chain', { ticketId: 'T-1001', segments });
  const told = await chain(tenants.talks, 500);
  const asked = await Promise.all(Array.from({ length: ASKING_RUNS }, () => chain(tenants.asks, 1)));
  await until(world, 'SELECT count(*)::int AS n FROM effects WHERE run_id = $1', told, 1);
  const expiring = await chain(tenants.brief, 1);
  const waiting = [...asked, expiring];
  for (const id of waiting) await until(world, APPROVALS, id, 1);

  const soon = (): Promise<void> => sleep(driver.random.below(IN_FLIGHT_MS_MAX));
  const decisions = asked.flatMap((id) =>
    ['key:boss0000', 'key:boss0001'].map((by) => decide(world, tenants.asks, id, by, soon)),
  );
  const signal = soon().then(() => tell(world, tenants.talks, told));
  await soon();
  await carryOut(world, driver, fault);
  const heard = await Promise.all(decisions);
  await signal;
  return { asked, expiring, told, decided: heard.filter(Boolean).length };
}

async function carryOut(world: HostWorld, driver: Driver, fault: (typeof FAULTS)[number]): Promise<void> {
  if (fault !== 'connections') return driver.replace(fault);
  await world.database.asOwner(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename LIKE 'bulkhead%'",
  );
}

const APPROVALS = 'SELECT count(*)::int AS n FROM approvals WHERE run_id = $1';

async function until(world: HostWorld, count: string, id: RunId, atLeast: number): Promise<void> {
  for (const late = Date.now() + READY_MS; ; await sleep(50)) {
    const [row] = await world.database.asOwner<{ n: number }>(count, [id]);
    if ((row?.n ?? 0) >= atLeast) return;
    if (Date.now() > late) throw new Error(`run ${id} did not come so far: ${count}`);
  }
}

/** As the API does for a person who asks again when their connection broke. Returns whether it was this decision that counted. */
async function decide(
  world: HostWorld,
  tenant: TenantId,
  run: RunId,
  decidedBy: string,
  soon: () => Promise<void>,
): Promise<boolean> {
  const [row] = await world.database.asOwner<{ id: string }>('SELECT id FROM approvals WHERE run_id = $1', [
    run,
  ]);
  await soon();
  const decision = {
    approvalId: row?.id ?? '',
    decision: 'approved',
    role: 'admin',
    reason: undefined,
  } as const;
  const parts = { keyRing: world.keyRing, sealArguments: sealArgumentsWith(world.keyRing) };
  return persist(async () => {
    await decideApproval(world.door.tenant(tenant), parts, { ...decision, decidedBy }, {});
  });
}

const tell = (world: HostWorld, tenant: TenantId, runId: RunId): Promise<boolean> =>
  persist(async () => {
    const action = { kind: 'signal', name: 'enough' } as const;
    const order = { runId, action, reason: 'a proof', actor: 'key:boss0000', idempotencyKey: 'enough' };
    await requestRun(world.door.tenant(tenant), order, { sealArguments: sealArgumentsWith(world.keyRing) });
  });

/** true: it was done; false: it had been done already. */
async function persist(work: () => Promise<void>): Promise<boolean> {
  for (const late = Date.now() + READY_MS; ; await sleep(100)) {
    try {
      await work();
      return true;
    } catch (error) {
      const { code } = error as { code?: string };
      if (code === 'INVALID_STATE') return false;
      if (code !== 'DATABASE_UNAVAILABLE' || Date.now() > late) throw error;
    }
  }
}

async function verdict(world: HostWorld, tenants: Tenants, round: Round): Promise<string[]> {
  const faults: string[] = [];
  const endOf = async (
    tenant: TenantId,
    id: RunId,
  ): Promise<{ steps: { outcome: string }[]; segments: number }> => {
    await world.until(tenant, id, 'completed', ENDED_MS);
    return (await world.runOf(tenant, id))?.result as never;
  };
  for (const id of round.asked) {
    const { steps } = await endOf(tenants.asks, id);
    if (steps[0]?.outcome !== 'ok') faults.push(`an approved call ended as ${steps[0]?.outcome}`);
    const rows = await world.database.asOwner<{
      state: string;
      used: boolean;
      decisions: number;
      acts: number;
    }>(
      `SELECT a.state, a.consumed_at IS NOT NULL AS used,
              (SELECT count(*)::int FROM journal_records j WHERE j.kind = 'approval' AND j.body->>'approvalId' = a.id AND j.body->>'state' = 'approved') AS decisions,
              (SELECT count(*)::int FROM effects e WHERE e.approval_id = a.id) AS acts
         FROM approvals a WHERE a.run_id = $1`,
      [id],
    );
    const wanted = { state: 'approved', used: true, decisions: 1, acts: 1 };
    if (JSON.stringify(rows) !== JSON.stringify([wanted]))
      faults.push(`approvals of a run: ${JSON.stringify(rows)}`);
  }
  // an answer that was lost with its connection is heard as "decided already" by whoever asks again
  if (round.decided > ASKING_RUNS) faults.push(`${round.decided} people decided ${ASKING_RUNS} approvals`);
  const { steps } = await endOf(tenants.brief, round.expiring);
  if (steps[0]?.outcome !== 'approval_expired')
    faults.push(`what nobody approved ended as ${steps[0]?.outcome}`);
  const { segments } = await endOf(tenants.talks, round.told);
  if (segments >= 500) faults.push('a run was not told that it is enough');
  return faults;
}
