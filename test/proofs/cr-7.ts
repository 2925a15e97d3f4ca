import { setTimeout as sleep } from 'node:timers/promises';
import type { Json, RunId, TenantId } from '@bulkhead/contract';
import { publishPolicy } from '@bulkhead/policy/admin';
import { requestRun } from '@bulkhead/runs/admin';
import { sealArgumentsWith } from '@bulkhead/runtime/codec';
import { makeDemoTenant } from '../support/demo-tenant.js';
import { openFaultDriver } from '../support/fault-driver.js';
import type { FaultDriver } from '../support/fault-driver.js';
import { openHostWorld } from '../support/host-world.js';
import type { HostWorld } from '../support/host-world.js';
import { openKillableServers } from '../support/killable-servers.js';
import type { KillableServers } from '../support/killable-servers.js';
import { createApiKey } from '@bulkhead/tenancy/admin';
import { zeroOf } from './proof.js';
import type { Proof, ProofSize } from './proof.js';

const KILLS: Record<ProofSize, number> = { tiny: 1, ci: 6, full: 36 };
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
 * Approvals, a timer and a signal are in flight while the API, the control process, the host, PostgreSQL or the Temporal
 * server is killed (SIGKILL), or every connection of the database. Two people decide on each approval at once, over the
 * API. No approval is lost and none counts twice, what nobody approves expires and is denied, what is told is heard.
 */
export const run: Proof = async ({ size, progress }) => {
  const servers = await openKillableServers(progress);
  const world = await openHostWorld({ delayMs: 0, servers });
  const faults: string[] = [];
  const rounds: Round[] = [];
  try {
    const tenants = await tenantsOf(world);
    const first = world.control;
    let isFirst = true;
    const startControl = () => (isFirst ? ((isFirst = false), Promise.resolve(first)) : world.startControl());
    const starts = { host: () => world.startHost(), control: startControl, api: world.startApi };
    const driver = await openFaultDriver(starts, progress);
    const people = await peopleOf(world, tenants.asks);
    const stage = { world, servers, driver, tenants, people };
    const over = new AbortController();
    const reviving = keepRunning(driver, over.signal, progress);
    try {
      for (let kill = 0; kill < KILLS[size]; kill += 1) {
        const fault = FAULTS[kill % FAULTS.length]!;
        rounds.push(await oneRound(stage, fault));
        progress(`kill ${kill + 1}, ${fault}`);
      }
      for (const round of rounds) faults.push(...(await verdict(world, tenants, round)));
    } finally {
      over.abort();
      await reviving;
      await driver.stop();
    }
  } finally {
    await world.close();
  }
  return zeroOf('approvals, timers and signals lost or doubled', rounds.length * (ASKING_RUNS + 2), faults);
};

const FAULTS = ['api', 'postgres', 'host', 'temporal', 'control', 'connections'] as const;
type Fault = (typeof FAULTS)[number];

/** A process may end by itself (a host that was fenced while its database was away): somebody starts it again. */
async function keepRunning(
  driver: Stage['driver'],
  stop: AbortSignal,
  say: (line: string) => void,
): Promise<void> {
  while (!stop.aborted) {
    await driver.revive().catch((error: unknown) => say(`not started yet: ${String(error)}`));
    await sleep(500, undefined, { signal: stop }).catch(() => undefined); // rejects only when stopped
  }
}

interface Stage {
  readonly world: HostWorld;
  readonly servers: KillableServers;
  readonly driver: FaultDriver<'host' | 'control' | 'api'>;
  readonly tenants: Tenants;
  /** API keys of two who may approve. */
  readonly people: readonly string[];
}

const peopleOf = (world: HostWorld, tenant: TenantId): Promise<string[]> =>
  Promise.all(
    ['one', 'two'].map(
      async (name) => (await createApiKey(world.door.tenant(tenant), { name, role: 'admin' })).key,
    ),
  );

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

async function oneRound(stage: Stage, fault: Fault): Promise<Round> {
  const { world, driver, tenants, people } = stage;
  const chain = (tenant: TenantId, segments: number): Promise<RunId> =>
    world.accept(tenant, 'long-chain', { ticketId: 'T-1001', segments });
  const told = await chain(tenants.talks, 500);
  const asked = await Promise.all(Array.from({ length: ASKING_RUNS }, () => chain(tenants.asks, 1)));
  await until(world, 'SELECT count(*)::int AS n FROM effects WHERE run_id = $1', told, 1);
  const expiring = await chain(tenants.brief, 1);
  const waiting = [...asked, expiring];
  for (const id of waiting) await until(world, APPROVALS, id, 1);

  const soon = (): Promise<void> => sleep(driver.random.below(IN_FLIGHT_MS_MAX));
  const decisions = asked.flatMap((id) => people.map((key) => decide(stage, id, key, soon)));
  const signal = soon().then(() => tell(world, tenants.talks, told));
  await soon();
  await carryOut(stage, fault);
  const heard = await Promise.all(decisions);
  await signal;
  return { asked, expiring, told, decided: heard.filter(Boolean).length };
}

async function carryOut({ world, servers, driver }: Stage, fault: Fault): Promise<void> {
  switch (fault) {
    case 'postgres':
    case 'temporal':
      await servers.replace(fault);
      break;
    case 'connections':
      await world.database.asOwner(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename LIKE 'bulkhead%'",
      );
      break;
    default:
      await driver.replace(fault);
  }
}

const APPROVALS = 'SELECT count(*)::int AS n FROM approvals WHERE run_id = $1';

async function until(world: HostWorld, count: string, id: RunId, atLeast: number): Promise<void> {
  for (const late = Date.now() + READY_MS; ; await sleep(50)) {
    const [row] = await world.database.asOwner<{ n: number }>(count, [id]);
    if ((row?.n ?? 0) >= atLeast) return;
    if (Date.now() > late) throw new Error(`run ${id} did not come so far: ${count}`);
  }
}

const APPROVE = 'mutation ($id: ID!) { approve(id: $id) { state } }';

/** A person who asks again while the API does not answer. Returns whether it was this decision that counted. */
async function decide(
  { world, driver }: Stage,
  run: RunId,
  key: string,
  soon: () => Promise<void>,
): Promise<boolean> {
  const find = 'SELECT id FROM approvals WHERE run_id = $1';
  const [row] = await world.database.asOwner<{ id: string }>(find, [run]);
  await soon();
  const body = JSON.stringify({ query: APPROVE, variables: { id: row?.id } });
  return persist(async () => {
    const answer = await ask({ port: () => driver.process('api').port }, key, body);
    const [error] = answer.errors ?? [];
    if (error) throw Object.assign(new Error(error.message), { code: error.extensions?.code });
  });
}

interface Answer {
  readonly errors?: readonly { readonly message: string; readonly extensions?: { readonly code?: string } }[];
}

/** @throws Error UNAVAILABLE when the API is not there, or says so */
async function ask({ port }: { port(): number }, key: string, body: string): Promise<Answer> {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` };
  try {
    // between a kill and the next start there is no port either
    const url = `http://127.0.0.1:${port()}/graphql`;
    const response = await fetch(url, { method: 'POST', headers, body });
    return (await response.json()) as Answer;
  } catch (cause) {
    throw Object.assign(new Error('the API does not answer', { cause }), { code: 'UNAVAILABLE' });
  }
}

const tell = (world: HostWorld, tenant: TenantId, runId: RunId): Promise<boolean> =>
  persist(async () => {
    const action = { kind: 'signal', name: 'enough' } as const;
    const order = { runId, action, reason: 'a proof', actor: 'key:boss0000', idempotencyKey: 'enough' };
    await requestRun(world.door.tenant(tenant), order, { sealArguments: sealArgumentsWith(world.keyRing) });
  });

const AWAY = ['UNAVAILABLE', 'TIMEOUT', 'DATABASE_UNAVAILABLE'];

/** true: it was done; false: it had been done already. */
async function persist(work: () => Promise<void>): Promise<boolean> {
  for (const late = Date.now() + READY_MS; ; await sleep(100)) {
    try {
      await work();
      return true;
    } catch (error) {
      const { code } = error as { code?: string };
      if (code === 'INVALID_STATE') return false;
      if (!AWAY.includes(code ?? '') || Date.now() > late) throw error;
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
