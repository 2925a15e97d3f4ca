import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { buildApprovalId } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import { createSealer } from '@bulkhead/journal/control';
import type { Sealer } from '@bulkhead/journal/control';
import { PURPOSES } from '@bulkhead/runtime/keys';
import { createApiKey, revokeApiKey } from '@bulkhead/tenancy/admin';
import { createOperatorKey } from '@bulkhead/tenancy/control';
import { ACME, AGENT, field, GLOBEX, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';

const STOPS = 'subscription { controlStates { scope target state inForce } }';
const APPROVALS =
  'subscription { approvals { id state arguments consequences { effect destination credential } } }';
const STOP =
  'mutation ($scope: ControlScope!, $target: ID, $state: StopState!) { stopCalls(scope: $scope, target: $target, state: $state, reason: "test") { id } }';
const RESUME = 'mutation ($id: ID!) { resumeCalls(id: $id, reason: "test") { id } }';

describe('what is streamed', () => {
  let api: TestApi;
  let operator: string;
  let admin: string;
  let globex: string;
  let sealer: Sealer;
  let last = 0;

  beforeAll(async () => {
    api = await startApi({ requestSeconds: 3 });
    sealer = createSealer({ control: api.deps.control, onError: (error) => expect.fail(String(error)) });
    operator = await api.key(ACME, 'operator');
    admin = await api.key(ACME, 'admin');
    globex = await api.key(GLOBEX, 'admin');
  });
  afterAll(() => api?.close());

  const nextOf = async (events: AsyncIterator<unknown>, name: string): Promise<unknown> => {
    // sooner than it would be read again without a hint
    const late = sleep(8_000, undefined, { ref: false }).then(() => Promise.reject(new Error('no event')));
    const { value } = await Promise.race([events.next(), late]);
    return (value as { data: Record<string, unknown> }).data[name];
  };
  const stop = async (key: string, scope: string, state: string, target?: string): Promise<string> =>
    field<{ id: string }>(await api.ask(key, STOP, { scope, state, target }), 'stopCalls').id;
  const resume = (id: string): Promise<unknown> => api.ask(operator, RESUME, { id });
  /** How a quiet stream ends, and how long after `cause` that was. */
  const ending = async (
    events: AsyncIterator<unknown>,
    cause: () => Promise<unknown>,
  ): Promise<[string, number]> => {
    const ended = events.next().then(
      (event) => `event ${JSON.stringify(event)}`,
      (error: unknown) => (error instanceof CloseEvent ? error.reason : JSON.stringify(error)),
    );
    await cause();
    const begun = performance.now();
    return [await ended, performance.now() - begun];
  };
  const runOf = async (tenant: TenantId, key: string, workspace = 'main'): Promise<string> => {
    const input = { agentId: AGENT, idempotencyKey: `r-${(last += 1)}`, input: { ticketId: 'T-1' } };
    const asked = 'mutation ($input: StartRunInput!) { startRun(input: $input) { id } }';
    const { id } = field<{ id: string }>(await api.ask(key, asked, { input }), 'startRun');
    await api.database.asOwner('UPDATE runs SET workspace_id = $3 WHERE tenant_id = $1 AND id = $2', [
      tenant,
      id,
      workspace,
    ]);
    return id;
  };
  /** As the gateway leaves it. */
  const approval = async (
    tenant: TenantId,
    run: string,
    seconds = 600,
    args: object = {},
  ): Promise<string> => {
    const id = buildApprovalId(tenant, `01kb3v6r2e8m4q7x9z0a1b${String((last += 1)).padStart(4, '0')}`);
    const shown = { description: 'Closes it.', effect: 'write', idempotency: 'keyed', credential: 'desk' };
    const sealed = {
      facts: { args: { n: last, ...args } },
      target: 'PATCH https://desk/1',
      adapter: 'http',
      shown,
    };
    const request = await api.keyRing.seal(
      tenant,
      PURPOSES.effectRequest,
      Buffer.from(JSON.stringify(sealed)),
    );
    await api.database.asOwner(
      `INSERT INTO approvals (tenant_id, id, run_id, key, digest, tool_id, tool_version, target, rule, approvers, request, requested_by, expires_at)
       VALUES ($5, $1, $2, $1, '\\x00', 'desk.close', 1, 'desk', 'ask', '{admin}', $3, 'key:nobody', now() + make_interval(secs => $4))`,
      [id, run, request, seconds, tenant],
    );
    await record(tenant, run);
    return id;
  };
  /** As the control process seals it, and tells. */
  const record = async (tenant: TenantId, run: string): Promise<void> => {
    await api.database.asOwner(
      "INSERT INTO journal_records (tenant_id, kind, run_id, body) VALUES ($1, 'approval', $2, '{}')",
      [tenant, run],
    );
    await sealer.sealOnce();
  };

  it('stops: all as it is now, then after each stop and each resume, of the own tenant only', async () => {
    const events = api.subscribe(operator, STOPS, {});
    expect(await nextOf(events, 'controlStates')).toEqual([]);
    await stop(globex, 'tenant', 'killed');
    const paused = await stop(operator, 'agent', 'paused', AGENT);
    const shown = { scope: 'agent', target: AGENT, state: 'paused', inForce: true };
    expect(await nextOf(events, 'controlStates')).toEqual([shown]);
    await resume(paused);
    expect(await nextOf(events, 'controlStates')).toEqual([]);
    await events.return?.();
  });

  it('stops: when one that waits for a host is in force, which nobody tells', async () => {
    const run = await runOf(ACME, operator);
    await api.database.asOwner("INSERT INTO hosts (id) VALUES ('host-slow')");
    await api.database.asOwner(
      `INSERT INTO effects (tenant_id, key, run_id, workflow_id, temporal_run_id, tool_id, tool_version, effect_class, idempotency,
         holder_host, holder_token, policy_version, rule, target, "window", request, deadline_at)
       VALUES ('acme', 'slow', $1, $1, 't', 'a.b', 1, 'write', 'keyed', 'host-slow', 't', 1, 'r', 't', 'w', '', now())`,
      [run],
    );
    const events = api.subscribe(operator, STOPS, {});
    expect(await nextOf(events, 'controlStates')).toEqual([]);
    const killed = stop(operator, 'tenant', 'killed');
    expect(await nextOf(events, 'controlStates')).toMatchObject([{ state: 'killed', inForce: false }]);
    await api.database.asOwner("UPDATE hosts SET fenced = true WHERE id = 'host-slow'");
    expect(await nextOf(events, 'controlStates')).toMatchObject([{ state: 'killed', inForce: true }]);
    await resume(await killed);
    await events.return?.();
  });

  it('the state of a tenant is its strongest stop, for its people and for operators of the platform', async () => {
    const platform = await createOperatorKey(api.deps.control, { name: 'op', createdBy: 'test' });
    const states = async (): Promise<unknown[]> => [
      field<{ controlState: string }>(
        await api.ask(admin, '{ tenant(id: "acme") { controlState } }'),
        'tenant',
      ).controlState,
      field<{ id: string; controlState: string }[]>(
        await api.ask(platform.key, '{ tenants { id controlState } }'),
        'tenants',
      ).find(({ id }) => id === 'acme')?.controlState,
    ];
    expect(await states()).toEqual(['open', 'open']);
    const agent = await stop(operator, 'agent', 'killed', AGENT);
    expect(await states()).toEqual(['open', 'open']);
    const ids = [
      await stop(operator, 'tenant', 'frozen'),
      await stop(operator, 'tenant', 'paused'),
      await stop(operator, 'tenant', 'killed'),
    ];
    const seen = [await states()];
    for (const id of ids.toReversed()) {
      await resume(id);
      seen.push(await states());
    }
    expect(seen).toEqual(['killed', 'paused', 'frozen', 'open'].map((state) => [state, state]));
    await resume(agent);
  });

  it('approvals: those that wait, each new one, and each that was decided, expired or became void', async () => {
    const run = await runOf(ACME, operator);
    const first = await approval(ACME, run);
    const events = api.subscribe(admin, APPROVALS, {});
    const next = () => nextOf(events, 'approvals');
    expect(await next()).toEqual({
      id: first,
      state: 'pending',
      arguments: { n: last },
      consequences: { effect: 'write', destination: 'PATCH https://desk/1', credential: 'desk' },
    });
    await approval(GLOBEX, await runOf(GLOBEX, globex));
    const second = await approval(ACME, run);
    expect(await next()).toMatchObject({ id: second, state: 'pending' });
    await api.ask(admin, 'mutation ($id: ID!) { approve(id: $id) { id } }', { id: first });
    expect(await next()).toMatchObject({ id: first, state: 'approved' });
    await api.database.asOwner("UPDATE approvals SET state = 'void' WHERE id = $1", [second]);
    await record(ACME, run);
    expect(await next()).toMatchObject({ id: second, state: 'void' });
    const short = await approval(ACME, run, 3);
    expect(await next()).toMatchObject({ id: short, state: 'pending' });
    // nothing is written and nobody tells: its time is up
    expect(await next()).toMatchObject({ id: short, state: 'expired' });
    await events.return?.();
  });

  it('approvals: of the workspace only that the key is limited to', async () => {
    await api.database.asOwner(
      "INSERT INTO workspaces (tenant_id, id, name) VALUES ('acme', 'blue', 'Blue')",
    );
    const limited = { name: 'blue', role: 'viewer', workspaceId: 'blue' } as const;
    const { key } = await createApiKey(api.deps.door.tenant(ACME), limited as never);
    await approval(ACME, await runOf(ACME, operator));
    const blue = await approval(ACME, await runOf(ACME, operator, 'blue'));
    const events = api.subscribe(key, APPROVALS, {});
    expect(await nextOf(events, 'approvals')).toMatchObject({ id: blue });
    await approval(ACME, await runOf(ACME, operator));
    const again = await approval(ACME, await runOf(ACME, operator, 'blue'));
    expect(await nextOf(events, 'approvals')).toMatchObject({ id: again });
    await events.return?.();
  });

  it('attack: approvals so large that together they are more than may wait for a reader are all sent, to a slow one too', async () => {
    const run = await runOf(ACME, operator);
    await api.database.asOwner("UPDATE approvals SET state = 'void' WHERE tenant_id = 'acme'");
    const ids: string[] = [];
    for (let n = 0; n < 60; n += 1)
      ids.push(await approval(ACME, run, 600, { text: 'x'.repeat(250 * 1024) }));
    const socket = new WebSocket(`${api.url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
    const seen: string[] = [];
    socket.on('message', (data: Buffer) => {
      const message = JSON.parse(String(data)) as {
        type: string;
        payload?: { data: { approvals: { id: string } } };
      };
      if (message.type === 'next') return seen.push(message.payload!.data.approvals.id);
      socket.send(JSON.stringify({ id: 's', type: 'subscribe', payload: { query: APPROVALS } }));
      // a slow one: what nobody takes must not gather
      socket.pause();
      return setTimeout(() => socket.resume(), 1_500);
    });
    await once(socket, 'open');
    socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${admin}` } }));
    await vi.waitFor(() => expect(seen).toEqual(ids), 8_000);
    socket.close();
  });

  it('attack: approvals that come and go quickly are read once a second, and each is opened once', async () => {
    const run = await runOf(ACME, operator);
    await api.database.asOwner("UPDATE approvals SET state = 'void' WHERE tenant_id = 'acme'");
    await approval(ACME, run);
    const [stand, find] = [vi.spyOn(api.deps.approvals, 'standing'), vi.spyOn(api.deps.approvals, 'find')];
    const opened = vi.spyOn(api.keyRing, 'open');
    const events = api.subscribe(admin, APPROVALS, {});
    await nextOf(events, 'approvals');
    const begun = performance.now();
    for (let n = 0; n < 30; n += 1) await approval(ACME, run);
    for (let n = 0; n < 30; n += 1) await nextOf(events, 'approvals');
    // the first read, one at the first hint, then one a second
    expect(stand.mock.calls.length).toBeLessThanOrEqual(3 + Math.floor((performance.now() - begun) / 1_000));
    expect(find).toHaveBeenCalledTimes(31);
    expect(opened.mock.calls.filter(([, purpose]) => purpose === PURPOSES.effectRequest)).toHaveLength(31);
    await events.return?.();
    vi.restoreAllMocks();
  });

  it.each([
    ['stops', STOPS],
    ['approvals', APPROVALS],
  ])(
    '%s: ends within a second when the key is revoked, and when it is given less',
    async (_what, document) => {
      await api.database.asOwner("UPDATE approvals SET state = 'void' WHERE tenant_id = 'acme'");
      await approval(ACME, await runOf(ACME, operator));
      const key = await api.key(ACME, 'viewer');
      const events = api.subscribe(key, document, {});
      await events.next();
      const [how, ms] = await ending(events, () =>
        revokeApiKey(api.deps.door.tenant(ACME), key.slice(4, 12)),
      );
      expect(how).toContain('UNAUTHENTICATED');
      expect(ms).toBeLessThan(1_000);
      const lesser = await api.key(ACME, 'operator');
      const others = api.subscribe(lesser, document, {});
      await others.next();
      const less = `UPDATE api_keys SET permissions = '["tenant:read"]' WHERE prefix = $1`;
      const [lost, lostMs] = await ending(others, () => api.database.asOwner(less, [lesser.slice(4, 12)]));
      expect(lost).toContain('FORBIDDEN');
      expect(lostMs).toBeLessThan(1_000);
    },
  );
});
