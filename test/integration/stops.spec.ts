import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildStopId, CHANNELS, tenantId } from '@bulkhead/contract';
import type { Envelope, HostId, Json } from '@bulkhead/contract';
import { publishPolicy, setPolicyMode } from '@bulkhead/policy/admin';
import { listStops, resumeCalls, stopCalls, untilInForce } from '@bulkhead/tenancy/admin';
import type { StopScope, StopState } from '@bulkhead/tenancy/admin';
import { createStopWatch } from '../../apps/worker/src/host/stop-watch.js';
import { randomUlid } from '../support/cross-tenant.js';
import { ALLOW_ALL, openLine } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';
import { until } from '../support/until.js';

const ACME = tenantId('acme');
/** Longer than a hint needs, shorter than the second after which a host looks by itself: hints have to work. */
const SOON_MS = 800;

let line: LineUnderTest;
let host: Host;
let run: Envelope;
const ends: (() => Promise<void>)[] = [];

/** What apps/worker's host does for its calls. */
async function watchStops(watched: Host): Promise<void> {
  const watch = createStopWatch({
    door: line.door,
    hostId: watched.id as HostId,
    inFlight: watched.inFlight,
    onError: (error) => {
      throw error;
    },
  });
  ends.push(await line.door.listen(CHANNELS.control, (tenant) => void watch.hint(tenant)));
}

const stop = async (
  state: StopState,
  scope: StopScope = 'tenant',
  target = '',
  more: { end?: boolean } = {},
): Promise<string> => {
  const id = buildStopId(ACME, randomUlid());
  const order = { id, scope, target, state, end: false, reason: 'a fire drill', actor: 'key:admin', ...more };
  return (await stopCalls(line.db('acme'), order)).id;
};
const resume = (id: string): Promise<void> =>
  resumeCalls(line.db('acme'), { id, reason: 'over', actor: 'key:admin' });
const inForce = (id: string, boundMs = SOON_MS) => untilInForce(line.db('acme'), id, boundMs);
beforeAll(async () => {
  line = await openLine();
  await line.database.asOwner(
    "INSERT INTO agents (tenant_id, id, workspace_id, name, description, workflow_type, input_schema) SELECT 'acme', a, 'main', a, a, 'none', '{}' FROM unnest(ARRAY['tester', 'other']) a",
  );
});
afterAll(async () => {
  await Promise.all(ends.map((end) => end()));
  await line.close();
});
beforeEach(async () => {
  line.tool.requests.length = 0;
  line.tool.answer = () => ({ done: true });
  host = await line.newHost();
  await watchStops(host);
  run = await line.newRun('acme');
  for (const { id } of await listStops(line.db('acme'))) await resume(id);
});

describe('what a stop covers', () => {
  it.each([
    ['killed', 'tenant', '', { read: 'killed', update: 'killed', open: 'killed' }],
    ['paused', 'tenant', '', { read: 'paused', update: 'paused', open: 'paused' }],
    ['read_only', 'tenant', '', { read: 'ok', update: 'paused', open: 'paused' }],
    ['frozen', 'tenant', '', { read: 'ok', update: 'frozen', open: 'frozen' }],
    ['killed', 'agent', 'tester', { read: 'killed', update: 'killed', open: 'killed' }],
    ['killed', 'agent', 'other', { read: 'ok', update: 'ok', open: 'ok' }],
    ['paused', 'tool', 'desk.update', { read: 'ok', update: 'paused', open: 'ok' }],
    ['read_only', 'tool', 'desk.read', { read: 'ok', update: 'ok', open: 'ok' }],
  ] as const)('%s for %s %s, and resuming restores all of it', async (state, scope, target, expected) => {
    const call = async (tool: string): Promise<string> => {
      const answer = await host.call(run, tool, { id: 'T-1' });
      return answer.kind === 'parked' ? answer.state : answer.kind;
    };
    const all = async () => ({
      read: await call('desk.read'),
      update: await call('desk.update'),
      open: await call('open.send'),
    });
    const id = await stop(state, scope, target);
    const before = line.tool.requests.length;
    expect(await all()).toEqual(expected);
    expect(line.tool.requests.length - before).toBe(
      Object.values(expected).filter((kind) => kind === 'ok').length,
    );
    expect((await inForce(id)).inForce).toBe(true);
    await resume(id);
    expect(await all()).toEqual({ read: 'ok', update: 'ok', open: 'ok' });
  });

  it('another tenant goes on', async () => {
    await stop('killed');
    const theirs = await line.newRun('globex');
    expect(await host.call(theirs, 'desk.update', { id: 'T-1' })).toMatchObject({ kind: 'ok' });
  });

  it('the run shows who waits for what and why; stops beside each other are lifted one by one', async () => {
    const paused = await stop('paused');
    const killed = await stop('killed');
    expect(await host.call(run, 'desk.update', { id: 'T-1' })).toMatchObject({
      kind: 'parked',
      state: 'killed',
      reason: { message: 'a fire drill', layer: 'control' },
    });
    const [row] = await line.database.asOwner('SELECT state, reason FROM runs WHERE id = $1', [run.runId]);
    expect(row).toEqual({ state: 'killed', reason: { message: 'a fire drill', layer: 'control' } });
    await resume(killed);
    expect(await host.call(run, 'desk.update', { id: 'T-1' })).toMatchObject({ state: 'paused' });
    await resume(paused);
    expect(await host.call(run, 'desk.update', { id: 'T-1' })).toMatchObject({ kind: 'ok' });
    const [tenant] = await line.database.asOwner("SELECT stops FROM tenants WHERE id = 'acme'");
    expect(tenant).toEqual({ stops: 0 });
  });

  it('asked twice, also twenty times at once, it is one stop with one record; lifted twice likewise', async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, () => stop('paused')));
    expect(new Set(ids).size).toBe(1);
    const records = (change: string) =>
      line.database.asOwner(
        "SELECT body FROM journal_records WHERE body->>'change' = $1 AND body->>'stop' = $2",
        [change, ids[0]],
      );
    expect(await records('stopped')).toHaveLength(1);
    await Promise.all(Array.from({ length: 5 }, () => resume(ids[0] ?? '')));
    expect(await records('resumed')).toHaveLength(1);
    expect(await listStops(line.db('acme'))).toEqual([]);
  });

  it('attack: foreign, unknown and malformed agents, tools and stops are not found, and nothing is stopped', async () => {
    const codes = await Promise.all(
      [
        stop('killed', 'agent', 'nobody'),
        stop('killed', 'tool', 'no.tool'),
        stop('killed', 'agent', "' OR 1 = 1 --"),
        resume('globex.stop.01kb3v6r2e8m4q7x9z0a1b2c3d'),
        resume('acme.stop.01kb3v6r2e8m4q7x9z0a1b2c3d'),
        resume('x'),
      ].map((asked) => asked.then(String, (error: { code?: string }) => error.code)),
    );
    expect(codes).toEqual(codes.map(() => 'NOT_FOUND'));
    expect(await listStops(line.db('acme'))).toEqual([]);
  });
});

describe('in force', () => {
  it('a kill breaks off what is under way; the call then waits, and goes on with the same key when it is lifted', async () => {
    line.tool.answer = () => 'hang';
    const call = host.call(run, 'desk.update', { id: 'T-1' });
    await until(() => line.tool.requests.length === 1);
    const id = await stop('killed');
    expect(await inForce(id)).toMatchObject({ inForce: true, waitingFor: [] });
    expect(await call).toMatchObject({ kind: 'parked', state: 'killed' });
    line.tool.answer = () => ({ done: true });
    await resume(id);
    expect(await host.call(run, 'desk.update', { id: 'T-1' })).toMatchObject({ kind: 'ok' });
    const keys = line.tool.requests.map((request) => request.headers['idempotency-key']);
    expect(keys).toEqual([keys[0], keys[0]]);
  });

  it('a kill of a call that must not be repeated ends it as indeterminate, never repeated', async () => {
    line.tool.answer = () => 'hang';
    const call = host.call(run, 'desk.send', { id: 'T-1' });
    await until(() => line.tool.requests.length === 1);
    expect((await inForce(await stop('killed'))).inForce).toBe(true);
    expect(await call).toMatchObject({ kind: 'indeterminate' });
  });

  it('a pause lets what is under way end, and is in force only then', async () => {
    let finish: (answer: { done: number }) => void = () => undefined;
    line.tool.answer = () => new Promise((resolve) => (finish = resolve));
    const call = host.call(run, 'desk.send', { id: 'T-1' });
    await until(() => line.tool.requests.length === 1);
    const id = await stop('paused');
    expect(await inForce(id, 300)).toMatchObject({ inForce: false, waitingFor: [host.id] });
    finish({ done: 1 });
    expect(await call).toMatchObject({ kind: 'ok' });
    expect((await inForce(id)).inForce).toBe(true);
  });

  it('a pause keeps back what was admitted and has not begun', async () => {
    let connect: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (connect = resolve));
    // the key ring stands between admit and the first byte
    const slow = await line.newHost({
      broker: { lease: async (admission) => (await held, line.broker.lease(admission)) },
    });
    await watchStops(slow);
    const call = slow.call(run, 'desk.send', { id: 'T-1' });
    await until(
      async () =>
        (await line.database.asOwner('SELECT 1 FROM effects WHERE run_id = $1', [run.runId])).length === 1,
    );
    const id = await stop('paused');
    expect((await inForce(id, 200)).inForce).toBe(false);
    connect();
    expect(await call).toMatchObject({ kind: 'parked', state: 'paused' });
    expect((await inForce(id)).inForce).toBe(true);
    expect(line.tool.requests).toHaveLength(0);
  });

  it('a host that hears nothing is waited for until it is fenced', async () => {
    const deaf = await line.newHost();
    line.tool.answer = () => 'hang';
    const call = deaf.call(run, 'desk.update', { id: 'T-1' }).catch((error: unknown) => error);
    await until(() => line.tool.requests.length === 1);
    const id = await stop('killed');
    expect(await inForce(id, 300)).toMatchObject({ inForce: false, waitingFor: [deaf.id] });
    await line.fence(deaf);
    expect((await inForce(id)).inForce).toBe(true);
    await call;
  });

  it('a kill that ends runs orders their end, once, with its reason', async () => {
    const id = await stop('killed', 'agent', 'tester', { end: true });
    await stop('killed', 'agent', 'tester', { end: true });
    const orders = () =>
      line.database.asOwner("SELECT run_id FROM outbox WHERE kind = 'terminate' AND run_id = $1", [
        run.runId,
      ]);
    expect(await orders()).toHaveLength(1);
    const [request] = await line.database.asOwner(
      'SELECT reason, actor FROM run_requests WHERE run_id = $1',
      [run.runId],
    );
    expect(request).toEqual({ reason: 'a fire drill', actor: 'key:admin' });
    expect(await listStops(line.db('acme'), { id })).toMatchObject([{ end: true, state: 'killed' }]);
    for (const [state, scope, target] of [
      ['paused', 'tenant', ''],
      ['killed', 'tool', 'desk.send'],
    ] as const) {
      await expect(stop(state, scope, target, { end: true })).rejects.toMatchObject({ code: 'BAD_INPUT' });
    }
  });

  it('a kill that ends runs, ordered again, also ends what was accepted since', async () => {
    const terminated = async (runId: string) =>
      (await line.database.asOwner("SELECT 1 FROM outbox WHERE kind = 'terminate' AND run_id = $1", [runId]))
        .length;
    const id = await stop('killed', 'tenant', '', { end: true });
    const newer = await line.newRun('acme');
    expect([await terminated(run.runId), await terminated(newer.runId)]).toEqual([1, 0]);
    expect(await stop('killed', 'tenant', '', { end: true })).toBe(id);
    expect([await terminated(run.runId), await terminated(newer.runId)]).toEqual([1, 1]);
    const stopped = await line.database.asOwner<{ body: { runsEnded: number } }>(
      "SELECT body FROM journal_records WHERE body->>'stop' = $1 ORDER BY id",
      [id],
    );
    expect(stopped.map(({ body }) => body.runsEnded)).toEqual([expect.any(Number), 1]);
  });

  it('a freeze of the tenant holds its policy: only deny and ask rules are added, in every profile, until it is lifted', async () => {
    const db = line.db('acme');
    const publish = (document: Json, profile = 'default') =>
      publishPolicy(db, { profile, document, publishedBy: 'key:admin', reason: 'a test' });
    const deny: Json = { id: 'no-send', effect: 'deny', tools: ['open.send'] };
    const allow: Json = { id: 'more', effect: 'allow', tools: ['desk.*'] };
    await stop('frozen', 'tool', 'desk.read');
    await publish({ rules: [ALLOW_ALL] });
    const id = await stop('frozen');
    for (const [document, profile] of [
      [{ rules: [] }],
      [{ rules: [ALLOW_ALL, allow] }],
      [{ rules: [ALLOW_ALL], mode: 'observe' }],
      [{ rules: [ALLOW_ALL, deny], mode: 'frozen' }],
      [{ rules: [ALLOW_ALL] }, 'another'],
    ] as [Json, string?][]) {
      await expect(publish(document, profile), JSON.stringify(document)).rejects.toMatchObject({
        code: 'INVALID_STATE',
      });
    }
    const mode = { profile: 'default', mode: 'observe', publishedBy: 'key:admin', reason: 'a test' } as const;
    await expect(setPolicyMode(db, mode)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await publish({ rules: [deny, ALLOW_ALL], mode: 'enforce' });
    await expect(publish({ rules: [ALLOW_ALL] })).rejects.toMatchObject({ code: 'INVALID_STATE' });
    expect(await host.call(run, 'desk.update', { id: 'T-1' })).toMatchObject({ state: 'frozen' });
    await resume(id);
    expect(await host.call(run, 'open.send', { id: 'T-1' })).toMatchObject({ kind: 'denied' });
    await publish({ rules: [ALLOW_ALL] });
  });

  it('lifting wakes the runs that have started, and no others', async () => {
    const waiting = await line.newRun('acme');
    await line.database.asOwner('UPDATE runs SET started_at = now() WHERE id = $1', [waiting.runId]);
    await resume(await stop('paused'));
    const signals = (runId: string) =>
      line.database.asOwner("SELECT payload FROM outbox WHERE kind = 'signal' AND run_id = $1", [runId]);
    expect(await signals(waiting.runId)).toEqual([{ payload: { signal: 'resume' } }]);
    expect(await signals(run.runId)).toEqual([]);
  });
});
