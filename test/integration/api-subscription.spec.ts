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
      return JSON.parse(JSON.stringify(error));
    }
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
      expect(await refusal(key, id)).toMatchObject([{ extensions: { code: 'UNAUTHENTICATED' } }]);
    }
  });

  it('validates the document, which the framework does not do for subscriptions', async () => {
    const events = api.subscribe(operator, 'subscription { runChanged(idd: "x") { id secrets } }', {});
    await expect(events.next()).rejects.toMatchObject([{ extensions: { code: 'BAD_USER_INPUT' } }]);
  });

  it('ends when the key is revoked while it is open', async () => {
    const key = await api.key(ACME, 'viewer');
    const id = await start('revoked');
    const events = api.subscribe(key, WATCH, { id });
    await events.next();
    await revokeApiKey(api.deps.door.tenant(ACME), key.slice(4, 12));
    await change(id, 'running');
    await expect(events.next()).rejects.toMatchObject([{ extensions: { code: 'UNAUTHENTICATED' } }]);
  });
});
