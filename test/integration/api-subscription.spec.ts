import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { revokeApiKey } from '@bulkhead/tenancy/admin';
import { ACME, AGENT, field, GLOBEX, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';

const WATCH = 'subscription ($id: ID!) { runChanged(id: $id) { id state reason { message } } }';
const UNKNOWN = '01kb3v6r2e8m4q7x9z0a1b2c3d';

describe('the subscription runChanged', () => {
  let api: TestApi;
  let operator: string;
  let globex: string;

  beforeAll(async () => {
    api = await startApi();
    operator = await api.key(ACME, 'operator');
    globex = await api.key(GLOBEX, 'admin');
  });
  afterAll(() => api?.close());

  const start = async (idempotencyKey: string): Promise<string> => {
    const answer = await api.ask(
      operator,
      'mutation ($input: StartRunInput!) { startRun(input: $input) { id } }',
      {
        input: { agentId: AGENT, idempotencyKey, input: { ticketId: 'T-1' } },
      },
    );
    return field<{ id: string }>(answer, 'startRun').id;
  };
  const change = async (id: string, state: string, reason: string | null = null): Promise<void> => {
    await api.database.asOwner('UPDATE runs SET state = $2, reason = $3 WHERE id = $1', [
      id,
      state,
      reason && JSON.stringify({ message: reason }),
    ]);
    await api.database.asOwner("SELECT pg_notify('bulkhead_runs', $1)", [
      JSON.stringify([{ tenantId: 'acme', runId: id }]),
    ]);
  };
  /** How a subscription that must not open ends. */
  const refusal = async (key: string | undefined, id: string): Promise<unknown> => {
    try {
      const event = await api.subscribe(key, WATCH, { id }).next();
      return { event };
    } catch (error) {
      if (error instanceof CloseEvent) return { code: error.code, reason: error.reason };
      return JSON.parse(JSON.stringify(error));
    }
  };
  /** The code with which a stream that has begun is ended, and how long after `cause` had been done that was. */
  const ending = async (
    events: AsyncIterator<unknown>,
    cause: () => Promise<unknown>,
  ): Promise<[string, number]> => {
    const ended = events.next().then(
      (event) => JSON.stringify(event),
      (error: unknown) =>
        error instanceof CloseEvent
          ? `${error.code} ${error.reason}`
          : (error as { extensions: { code: string } }[]).map(({ extensions }) => extensions.code).join(),
    );
    await cause();
    const started = performance.now();
    return [await ended, performance.now() - started];
  };

  it('sends the run as it is, then each change of state or reason, and completes at the end', async () => {
    const id = await start('watched');
    const events = api.subscribe(operator, WATCH, { id });
    const next = async (): Promise<unknown> => (await events.next()).value;
    expect(await next()).toEqual({ data: { runChanged: { id, state: 'accepted', reason: null } } });
    await change(id, 'running');
    expect(await next()).toMatchObject({ data: { runChanged: { state: 'running' } } });
    await change(id, 'running'); // a hint without a change is not an event
    await change(id, 'approval_required', 'asks');
    expect(await next()).toMatchObject({
      data: { runChanged: { state: 'approval_required', reason: { message: 'asks' } } },
    });
    await change(id, 'completed');
    expect(await next()).toMatchObject({ data: { runChanged: { state: 'completed' } } });
    expect((await events.next()).done).toBe(true);
  });

  it('closes for a run of another tenant exactly as for one that does not exist', async () => {
    const foreign = await start('foreign');
    const answer = await refusal(globex, foreign);
    expect(answer).toMatchObject([{ extensions: { code: 'NOT_FOUND', field: 'id' } }]);
    for (const id of [`globex.run.${UNKNOWN}`, `acme.run.${UNKNOWN}`, 'nonsense'])
      expect(await refusal(globex, id)).toEqual(answer);
  });

  it('does not open without a genuine key', async () => {
    const id = await start('no-key');
    for (const key of [undefined, 'nonsense', `${operator.slice(0, 13)}${'A'.repeat(32)}`]) {
      expect(await refusal(key, id)).toMatchObject({ code: 4401, reason: 'UNAUTHENTICATED' });
    }
  });

  it('validates the document, which the framework does not do for subscriptions', async () => {
    const events = api.subscribe(operator, 'subscription { runChanged(idd: "x") { id secrets } }', {});
    await expect(events.next()).rejects.toMatchObject(
      ['idd', 'secrets', 'id'].map((field) => ({ extensions: { code: 'BAD_USER_INPUT', field } })),
    );
  });

  it('ends within a second when the key is revoked, although nothing happens to the run', async () => {
    const key = await api.key(ACME, 'viewer');
    const events = api.subscribe(key, WATCH, { id: await start('revoked') });
    await events.next();
    const [how, ms] = await ending(events, () => revokeApiKey(api.deps.door.tenant(ACME), key.slice(4, 12)));
    // the connection is closed, and the stream is told: whichever comes first
    expect(['4401 UNAUTHENTICATED', 'UNAUTHENTICATED']).toContain(how);
    expect(ms).toBeLessThan(1_000);
  });

  it('ends within a second when the tenant is suspended, and goes on for others', async () => {
    const events = api.subscribe(operator, WATCH, { id: await start('suspended') });
    await events.next();
    const status = (name: string): Promise<unknown> =>
      api.database.asOwner("UPDATE tenants SET status = $1 WHERE id = 'acme'", [name]);
    const [how, ms] = await ending(events, () => status('suspended'));
    await status('active');
    expect(['4403 TENANT_SUSPENDED', 'TENANT_SUSPENDED']).toContain(how);
    expect(ms).toBeLessThan(1_000);
  });

  it('ends when the key expires, and when it is given less', async () => {
    const expiring = await api.key(ACME, 'viewer');
    const lesser = await api.key(ACME, 'operator');
    const id = await start('expires');
    const [one, two] = [api.subscribe(expiring, WATCH, { id }), api.subscribe(lesser, WATCH, { id })];
    await Promise.all([one.next(), two.next()]);
    const change = (key: string, what: string): Promise<unknown> =>
      api.database.asOwner(`UPDATE api_keys SET ${what} WHERE prefix = $1`, [key.slice(4, 12)]);
    const [expired, ms] = await ending(one, () =>
      change(expiring, "expires_at = now() + interval '1 second'"),
    );
    expect(expired).toContain('UNAUTHENTICATED');
    expect(ms).toBeLessThan(2_000);
    const [lost, lostMs] = await ending(two, () => change(lesser, `permissions = '["tenant:read"]'`));
    expect(lost).toBe('FORBIDDEN');
    expect(lostMs).toBeLessThan(1_000);
  });
});
