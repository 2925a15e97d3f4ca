import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ACME, AGENT, field, GLOBEX, startApi } from '../support/api.js';
import type { Answer, TestApi } from '../support/api.js';

const REQUESTS = 'id state requests { kind origin reason actor doneAt failure }';
const CANCEL = `mutation ($id: ID!, $reason: String!, $key: String) { cancelRun(id: $id, reason: $reason, idempotencyKey: $key) { ${REQUESTS} } }`;
const TERMINATE = `mutation ($id: ID!, $reason: String!) { terminateRun(id: $id, reason: $reason) { ${REQUESTS} } }`;
const RESET = `mutation ($id: ID!, $reason: String!, $to: ResetPoint!, $eventId: Int) { resetRun(id: $id, reason: $reason, to: $to, eventId: $eventId) { ${REQUESTS} } }`;
const SIGNAL = `mutation ($id: ID!, $reason: String!, $name: String!, $argument: JSON, $key: String!) { signalRun(id: $id, reason: $reason, name: $name, argument: $argument, idempotencyKey: $key) { ${REQUESTS} } }`;
const MUTATIONS = [
  ['cancelRun', CANCEL, {}],
  ['terminateRun', TERMINATE, {}],
  ['resetRun', RESET, { to: 'first' }],
  ['signalRun', SIGNAL, { name: 'enough', key: 'k' }],
] as const;
const RANDOM = '01kb3v6r2e8m4q7x9z0a1b2c3d';

describe('control of runs over GraphQL', () => {
  let api: TestApi;
  let operator: string;
  let globex: string;

  beforeAll(async () => {
    api = await startApi();
    operator = await api.key(ACME, 'operator');
    globex = await api.key(GLOBEX, 'admin');
  });
  afterAll(() => api?.close());

  const start = async (key: string, idempotencyKey: string): Promise<string> => {
    const document = 'mutation ($input: StartRunInput!) { startRun(input: $input) { id } }';
    const input = { agentId: AGENT, idempotencyKey, input: { ticketId: 'T-1' } };
    return field<{ id: string }>(await api.ask(key, document, { input }), 'startRun').id;
  };
  const code = (answer: Answer): string | undefined => answer.errors?.[0]?.extensions.code;
  const orders = (id: string): Promise<{ kind: string }[]> =>
    api.database.asOwner("SELECT kind FROM outbox WHERE run_id = $1 AND kind <> 'start' ORDER BY id", [id]);

  it('a request is committed with its reason, its order and its record, and shown while it is pending', async () => {
    const id = await start(operator, 'shown');
    const answer = await api.ask(operator, CANCEL, { id, reason: '  the customer left  ' });
    expect(field(answer, 'cancelRun')).toEqual({
      id,
      state: 'accepted',
      requests: [
        {
          kind: 'cancel',
          origin: 'mutation',
          reason: 'the customer left',
          actor: `key:${operator.slice(4, 12)}`,
          doneAt: null,
          failure: null,
        },
      ],
    });
    expect(await orders(id)).toEqual([{ kind: 'cancel' }]);
    const records = await api.database.asOwner(
      "SELECT body FROM journal_records WHERE run_id = $1 AND kind = 'control'",
      [id],
    );
    expect(records).toMatchObject([
      { body: { change: 'run_cancel', state: 'requested', reason: 'the customer left' } },
    ]);
  });

  it('asked twice it is one request; another key is another one', async () => {
    const id = await start(operator, 'twice');
    for (const key of ['a', 'a', undefined, undefined, 'b']) {
      expect((await api.ask(operator, CANCEL, { id, reason: 'stop', key })).errors).toBeUndefined();
    }
    expect(await orders(id)).toHaveLength(3);
  });

  it('attack: asked twenty times at once it is one request', async () => {
    const id = await start(operator, 'race');
    await Promise.all(
      Array.from({ length: 20 }, () => api.ask(operator, CANCEL, { id, reason: 'stop', key: 'k' })),
    );
    expect(await orders(id)).toHaveLength(1);
  });

  it('nobody acts without saying why', async () => {
    const id = await start(operator, 'why');
    for (const reason of ['', '   ', 'x'.repeat(1_001), 'a\u0000b']) {
      const answer = await api.ask(operator, CANCEL, { id, reason });
      expect(answer.errors?.[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', field: 'reason' });
    }
    expect(await orders(id)).toEqual([]);
  });

  it('a run that has not started cannot be reset, one that ended cannot be stopped, and the caller is told', async () => {
    const id = await start(operator, 'states');
    expect(code(await api.ask(operator, RESET, { id, reason: 'again', to: 'first' }))).toBe('INVALID_STATE');
    await api.database.asOwner(
      "UPDATE runs SET state = 'completed', started_at = now(), finished_at = now() WHERE id = $1",
      [id],
    );
    for (const document of [CANCEL, TERMINATE]) {
      const answer = await api.ask(operator, document, { id, reason: 'stop' });
      expect(answer.errors?.[0]).toMatchObject({
        message: 'The run has already ended.',
        extensions: { code: 'INVALID_STATE' },
      });
    }
    const reset = await api.ask(operator, RESET, { id, reason: 'again', to: 'event', eventId: 9 });
    expect(field(reset, 'resetRun')).toMatchObject({ state: 'running', requests: [{ kind: 'reset' }] });
    expect(code(await api.ask(operator, RESET, { id, reason: 'other', to: 'last' }))).toBe('INVALID_STATE');
  });

  it('a run is told only what its workflow declares for people, and the caller learns what that is', async () => {
    const id = await start(operator, 'signal');
    const refused = await api.ask(operator, SIGNAL, { id, reason: 'wake', name: 'resume', key: 'k' });
    expect(refused.errors?.[0]).toMatchObject({
      message: 'The run takes no such signal from people: it takes none.',
      extensions: { code: 'BAD_USER_INPUT', field: 'name' },
    });
    await api.database.asOwner("UPDATE runs SET workflow_type = 'longChain' WHERE id = $1", [id]);
    const say = (argument: unknown, key: string): Promise<Answer> =>
      api.ask(operator, SIGNAL, { id, reason: 'done', name: 'enough', argument, key });
    for (const [key, argument] of Object.entries({ a: null, b: { any: ['shape'] }, c: 7 })) {
      expect((await say(argument, key)).errors).toBeUndefined();
    }
    expect(code(await say(8, 'c'))).toBe('IDEMPOTENCY_CONFLICT');
    expect(await orders(id)).toHaveLength(3);
  });

  it('a reset to an event names the event, and no other reset does', async () => {
    const id = await start(operator, 'event');
    for (const more of [{ to: 'event' }, { to: 'first', eventId: 4 }, { to: 'event', eventId: 1 }]) {
      const answer = await api.ask(operator, RESET, { id, reason: 'again', ...more });
      expect(answer.errors?.[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', field: 'eventId' });
    }
  });

  it('attack: foreign, random, malformed ids and runs of another workspace get one and the same answer, and do nothing', async () => {
    const theirs = await start(globex, 'theirs');
    const hidden = await start(operator, 'hidden');
    await api.database.asOwner(
      "INSERT INTO workspaces (tenant_id, id, name) VALUES ('acme', 'blue', 'Blue')",
    );
    const limited = await api.key(ACME, 'operator');
    await api.database.asOwner("UPDATE api_keys SET workspace_id = 'blue' WHERE prefix = $1", [
      limited.slice(4, 12),
    ]);
    for (const [name, document, more] of MUTATIONS) {
      const answers = await Promise.all([
        api.ask(operator, document, { id: theirs, reason: 'mine now', ...more }),
        api.ask(operator, document, { id: `globex.run.${RANDOM}`, reason: 'mine now', ...more }),
        api.ask(operator, document, { id: `acme.run.${RANDOM}`, reason: 'mine now', ...more }),
        api.ask(operator, document, { id: 'x', reason: 'mine now', ...more }),
        api.ask(limited, document, { id: hidden, reason: 'mine now', ...more }),
      ]);
      expect(new Set(answers.map((answer) => JSON.stringify(answer))).size, name).toBe(1);
      expect(code(answers[0]!), JSON.stringify(answers[0])).toBe('NOT_FOUND');
    }
    expect([...(await orders(theirs)), ...(await orders(hidden))]).toEqual([]);
  });

  it('only those may who may: a viewer nothing, an author no terminate and no reset', async () => {
    const id = await start(operator, 'roles');
    const may = async (role: 'viewer' | 'auditor' | 'workflow-author'): Promise<string[]> => {
      const key = await api.key(ACME, role);
      const answers = await Promise.all(
        MUTATIONS.map(async ([name, document, more]) => {
          const answer = await api.ask(key, document, { id, reason: 'try', ...more });
          return code(answer) === 'FORBIDDEN' ? [] : [name];
        }),
      );
      return answers.flat();
    };
    expect(await may('viewer')).toEqual([]);
    expect(await may('auditor')).toEqual([]);
    expect(await may('workflow-author')).toEqual(['cancelRun', 'signalRun']);
  });
});
