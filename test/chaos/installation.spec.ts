import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import {
  demoApiKeys,
  graphql,
  ownerLogin,
  processesOf,
  signalOf,
  startInstallation,
} from '../support/installation.js';
import type { TestInstallation } from '../support/installation.js';

/** What a machine does to a whole installation: a database that crashes, a server that hangs, the power that goes. */
const VERIFY = fileURLToPath(new URL('../../tools/dist/verify.js', import.meta.url));
const STEPS = [
  ['helpdesk.ticket.read', 'ok'],
  ['memory.search_nodes', 'ok'],
  ['model.chat', 'ok'],
  ['memory.create_entities', 'ok'],
  ['helpdesk.ticket.update', 'ok'],
  ['webhook.post', 'denied'],
];
let installation: TestInstallation;
let operator: string;

interface Run {
  id: string;
  state: string;
  result: { steps: { tool: string; outcome: string }[] } | null;
}

beforeAll(async () => {
  installation = await startInstallation();
  operator = (await demoApiKeys(installation))['acme']?.operator ?? '';
}, 120_000);
afterAll(async () => {
  await installation.stop();
});

async function start(idempotencyKey: string): Promise<Run> {
  const { startRun } = await graphql<{ startRun: Run }>(
    installation,
    operator,
    'mutation ($input: StartRunInput!) { startRun(input: $input) { id state } }',
    { input: { agentId: 'support-triage', idempotencyKey, input: { ticketId: 'T-1002' } } },
  );
  return startRun;
}

async function runOf(id: string): Promise<Run> {
  const query = 'query ($id: ID!) { run(id: $id) { id state result } }';
  return (await graphql<{ run: Run }>(installation, operator, query, { id })).run;
}

/** Each run ends as if nothing had been. Meanwhile the API may say that it is not available. */
async function expectCompleted(ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    await vi.waitFor(async () => expect((await runOf(id)).state).toBe('completed'), {
      timeout: 60_000,
      interval: 100,
    });
    const steps = (await runOf(id)).result?.steps.map(({ tool, outcome }) => [tool, outcome]);
    expect(steps, id).toEqual(STEPS);
  }
}

async function helpdeskPort(): Promise<string> {
  const processes = await processesOf(installation.dataDir);
  const helpdesk = processes.find(({ command }) => command.includes('helpdesk.js'));
  return /--port (\d+)/.exec(helpdesk?.command ?? '')?.[1] ?? '';
}

/** How many changes the helpdesk made for acme since it was started. */
async function changes(): Promise<number> {
  const { keys } = JSON.parse(
    await readFile(join(installation.dataDir, 'demo', 'helpdesk.json'), 'utf8'),
  ) as { keys: Record<string, string> };
  const answer = await fetch(`http://127.0.0.1:${await helpdeskPort()}/effects`, {
    headers: { authorization: `Bearer ${keys['acme']}` },
  });
  return ((await answer.json()) as { effects: unknown[] }).effects.length;
}

/** Every record sealed, every chain whole, every effect as its record says. */
async function expectWholeJournal(): Promise<void> {
  await vi.waitFor(
    () => {
      const { status, stdout, stderr } = spawnSync(
        process.execPath,
        [VERIFY, '--data', installation.dataDir],
        { encoding: 'utf8' },
      );
      expect(status, stdout + stderr).toBe(0);
    },
    { timeout: 10_000, interval: 500 },
  );
}

it('PostgreSQL crashes and recovers under running agents: every run ends, every change is made once', async () => {
  const before = await changes();
  const runs = await Promise.all([1, 2, 3, 4, 5, 6].map((n) => start(`crash-${n}`)));
  await vi.waitFor(async () => expect(await changes()).toBeGreaterThan(before), {
    timeout: 20_000,
    interval: 10,
  });

  const owner = new pg.Client({ ...(await ownerLogin(installation)), database: 'postgres' });
  owner.on('error', () => undefined); // its server is about to crash
  await owner.connect();
  const { rows } = await owner.query<{ pid: number }>(
    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'",
  );
  if (!rows[0]) throw new Error('there is no checkpointer');
  signalOf(rows[0].pid, 'SIGKILL'); // the postmaster then ends every connection and replays its log
  await vi.waitFor(async () => {
    const log = await readFile(join(installation.dataDir, 'logs', 'postgres.log'), 'utf8');
    expect(log).toContain('all server processes terminated; reinitializing');
  });

  await expectCompleted(runs.map(({ id }) => id));
  expect(await changes()).toBe(before + runs.length);
  await expectWholeJournal();
}, 120_000);

it('Temporal hangs when runs are asked for: they are accepted at once, and done when it is back', async () => {
  const server = (await processesOf(installation.dataDir)).filter(({ command }) =>
    /temporal-server/.test(command),
  );
  expect(server.length).toBeGreaterThan(0);
  const before = await changes();
  for (const { pid } of server) signalOf(pid, 'SIGSTOP');
  try {
    const began = performance.now();
    const runs = await Promise.all([1, 2, 3].map((n) => start(`hang-${n}`)));
    expect(performance.now() - began).toBeLessThan(2_000);
    await sleep(2_000);
    for (const { id } of runs) expect(['accepted', 'queued']).toContain((await runOf(id)).state);
    for (const { pid } of server) signalOf(pid, 'SIGCONT');
    await expectCompleted(runs.map(({ id }) => id));
    expect(await changes()).toBe(before + runs.length);
  } finally {
    for (const { pid } of server) signalOf(pid, 'SIGCONT');
  }
}, 120_000);

it('what waits for a person is still asked after the power went, and the answer given then is carried out once', async () => {
  const keys = await demoApiKeys(installation);
  const ask = <T>(key: string | undefined, query: string, variables: object = {}): Promise<T> =>
    graphql<T>(installation, key ?? '', query, variables);
  const started = await ask<{ startRun: Run }>(
    keys['globex']?.operator,
    'mutation ($input: StartRunInput!) { startRun(input: $input) { id state } }',
    { input: { agentId: 'support-triage', idempotencyKey: 'waits', input: { ticketId: 'T-2001' } } },
  );
  const { id } = started.startRun;
  const stateOf = async (): Promise<string> =>
    (await ask<{ run: Run }>(keys['globex']?.operator, 'query ($id: ID!) { run(id: $id) { state } }', { id }))
      .run.state;
  const becomes = (state: string): Promise<void> =>
    vi.waitFor(async () => expect(await stateOf()).toBe(state), { timeout: 60_000, interval: 100 });
  const pending = async (): Promise<string | undefined> => {
    const query = '{ approvals(state: pending) { nodes { id runId } } }';
    const found = await ask<{ approvals: { nodes: { id: string; runId: string }[] } }>(
      keys['globex']?.admin,
      query,
    );
    return found.approvals.nodes.find(({ runId }) => runId === id)?.id;
  };
  await becomes('approval_required');
  const approval = await pending();
  // elsewhere the helpdesk would be another destination than the one that is asked about, and the question void
  const port = await helpdeskPort();
  await installation.powerCut();
  installation = await startInstallation(installation, { BULKHEAD_HELPDESK_PORT: port });

  expect(await pending()).toBe(approval);
  await becomes('approval_required');
  const approve = 'mutation ($id: ID!) { approve(id: $id) { state } }';
  await ask(keys['globex']?.admin, approve, { id: approval });
  await expect(ask(keys['globex']?.admin, approve, { id: approval })).rejects.toThrow('INVALID_STATE');
  await becomes('completed');
  const owner = new pg.Client({ ...(await ownerLogin(installation)), database: 'bulkhead' });
  await owner.connect();
  const { rows } = await owner.query(
    `SELECT e.state, e.outcome, a.state AS approval, a.consumed_at IS NOT NULL AS used
       FROM effects e JOIN approvals a ON a.tenant_id = e.tenant_id AND a.id = e.approval_id WHERE e.run_id = $1`,
    [id],
  );
  await owner.end();
  expect(rows).toEqual([{ state: 'closed', outcome: 'ok', approval: 'approved', used: true }]);
}, 240_000);

it('the power goes while 20 callers start 10 runs: after the next start each key has one run, and it ends', async () => {
  const keys = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((n) => `power-${n}`);
  const known = new Map<string, string>();
  const callers = [...keys, ...keys].map(async (key) => {
    const { id } = await start(key);
    expect(known.get(key) ?? id).toBe(id);
    known.set(key, id);
  });
  await Promise.any(callers);
  await installation.powerCut();
  await Promise.allSettled(callers); // some were answered, the others saw the connection break
  expect(await processesOf(installation.dataDir)).toEqual([]);

  installation = await startInstallation(installation);
  expect(installation.output()).toContain('the database schema is up to date');
  const again = await Promise.all(keys.map(async (key) => [key, (await start(key)).id] as const));
  for (const [key, id] of known) expect(new Map(again).get(key)).toBe(id);
  expect(new Set(again.map(([, id]) => id)).size).toBe(keys.length);
  await expectCompleted(again.map(([, id]) => id));
  await expectWholeJournal();
}, 180_000);
