import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toolId } from '@bulkhead/contract';
import { putTool } from '@bulkhead/tool-gateway/admin';
import { revokeApiKey } from '@bulkhead/tenancy/admin';
import { ACME, AGENT, ask, field, GLOBEX, startApi } from '../support/api.js';
import type { Answer, TestApi } from '../support/api.js';

const START = 'mutation ($input: StartRunInput!) { startRun(input: $input) { id state agentId actor } }';
const RUN = 'query ($id: ID!) { run(id: $id) { id state } }';
const UNKNOWN = '01kb3v6r2e8m4q7x9z0a1b2c3d';

describe('the API', () => {
  let api: TestApi;
  let operator: string;
  let admin: string;
  let viewer: string;
  let globex: string;

  beforeAll(async () => {
    api = await startApi();
    operator = await api.key(ACME, 'operator');
    admin = await api.key(ACME, 'admin');
    viewer = await api.key(ACME, 'viewer');
    globex = await api.key(GLOBEX, 'admin');
  });
  afterAll(() => api?.close());

  const start = (key: string, idempotencyKey: string, more: Record<string, unknown> = {}): Promise<Answer> =>
    api.ask(key, START, { input: { agentId: AGENT, idempotencyKey, input: { ticketId: 'T-1' }, ...more } });
  const startedId = async (key: string, idempotencyKey: string): Promise<string> => {
    return field<{ id: string }>(await start(key, idempotencyKey), 'startRun').id;
  };
  const counts = async (): Promise<unknown> =>
    (
      await api.database.asOwner(
        'SELECT (SELECT count(*) FROM runs) AS runs, (SELECT count(*) FROM outbox) AS outbox, (SELECT count(*) FROM journal_records) AS records',
      )
    )[0];

  it('says who the caller is', async () => {
    const { data } = await api.ask(
      viewer,
      '{ me { actor role tenant { id namespace } } tenants { id } agents { id } }',
    );
    expect(data).toMatchObject({
      me: {
        actor: `key:${viewer.slice(4, 12)}`,
        role: 'viewer',
        tenant: { id: 'acme', namespace: 'tnt-acme' },
      },
      tenants: [{ id: 'acme' }],
      agents: [{ id: 'support-triage' }],
    });
  });

  it('answers a missing, malformed, forged, revoked and expired key with one and the same refusal', async () => {
    const revoked = await api.key(ACME, 'admin');
    await revokeApiKey(api.deps.door.tenant(ACME), revoked.slice(4, 12));
    const expired = await api.key(ACME, 'admin');
    await api.database.asOwner(
      "UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE prefix = $1",
      [expired.slice(4, 12)],
    );
    const forged = `${admin.slice(0, 13)}${'A'.repeat(32)}`;
    const unknown = `bhk_00000000_${'A'.repeat(32)}`;
    const refusals = await Promise.all(
      [undefined, '', 'nonsense', forged, unknown, revoked, expired].map((key) =>
        api.ask(key, '{ me { role } }'),
      ),
    );
    for (const refusal of refusals) expect(refusal).toEqual(refusals[0]);
    expect(refusals[0]).toMatchObject({
      status: 401,
      data: null,
      errors: [{ extensions: { code: 'UNAUTHENTICATED' } }],
    });
  });

  it('notes when a key was last used, at most once a minute', async () => {
    const key = await api.key(ACME, 'viewer');
    const lastUsed = async (): Promise<Date | null | undefined> =>
      (
        await api.database.asOwner<{ last_used_at: Date | null }>(
          'SELECT last_used_at FROM api_keys WHERE prefix = $1',
          [key.slice(4, 12)],
        )
      )[0]?.last_used_at;
    expect(await lastUsed()).toBeNull();
    await api.ask(key, '{ me { role } }');
    const first = await lastUsed();
    expect(first).toBeInstanceOf(Date);
    await api.ask(key, '{ me { role } }');
    expect(await lastUsed()).toEqual(first);
  });

  it('shows the tools of the own tenant only', async () => {
    const spec = {
      adapter: 'http',
      description: 'Reads a ticket.',
      method: 'GET',
      url: 'http://127.0.0.1:1/tickets/{id}',
      inputSchema: {
        type: 'object',
        properties: { id: { type: 'string' } },
        required: ['id'],
        additionalProperties: false,
      },
      effect: 'read',
      idempotency: 'natural',
    };
    await putTool(api.deps.door.tenant(ACME), toolId('helpdesk.ticket.read'), spec);
    const tools = 'query { tools { id version enabled adapter effect idempotency inputSchema } }';
    expect((await api.ask(viewer, tools)).data?.tools).toMatchObject([
      {
        id: 'helpdesk.ticket.read',
        version: 1,
        enabled: true,
        adapter: 'http',
        effect: 'read',
        inputSchema: spec.inputSchema,
      },
    ]);
    expect((await api.ask(globex, tools)).data?.tools).toEqual([]);
  });

  it('lets a viewer start nothing', async () => {
    const before = await counts();
    expect((await start(viewer, 'v-1')).errors).toMatchObject([{ extensions: { code: 'FORBIDDEN' } }]);
    expect(await counts()).toEqual(before);
  });

  it('commits a run with its order and its journal record, and answers before anything is started', async () => {
    const run = field<{ id: string }>(await start(operator, 'first'), 'startRun');
    expect(run).toMatchObject({ state: 'accepted', agentId: AGENT, actor: `key:${operator.slice(4, 12)}` });
    const rows = await api.database.asOwner(
      `SELECT r.envelope, o.kind, j.kind AS record FROM runs r JOIN outbox o ON o.run_id = r.id JOIN journal_records j ON j.run_id = r.id WHERE r.id = $1`,
      [run.id],
    );
    expect(rows).toMatchObject([
      { envelope: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/), kind: 'start', record: 'run' },
    ]);
    const shown = await api.ask(
      viewer,
      `query ($id: ID!) { run(id: $id) { state input journal { kind body } } }`,
      { id: run.id },
    );
    expect(shown.data?.run).toMatchObject({
      state: 'accepted',
      input: { ticketId: 'T-1' },
      journal: [{ kind: 'run', body: { state: 'accepted' } }],
    });
  });

  it('gives one run for one idempotency key, however often and however at once it is asked', async () => {
    const before = (await counts()) as { runs: string };
    const answers = await Promise.all(Array.from({ length: 12 }, () => start(operator, 'same')));
    const ids = new Set(answers.map((answer) => field<{ id: string }>(answer, 'startRun').id));
    expect(ids.size).toBe(1);
    expect(Number(((await counts()) as { runs: string }).runs)).toBe(Number(before.runs) + 1);
  });

  it('refuses an idempotency key that was used with other arguments', async () => {
    await start(operator, 'taken');
    const other = await start(operator, 'taken', { input: { ticketId: 'T-2' } });
    expect(other.errors).toMatchObject([
      { extensions: { code: 'IDEMPOTENCY_CONFLICT', field: 'input.idempotencyKey' } },
    ]);
    expect((await start(globex, 'taken')).data?.startRun).toMatchObject({ state: 'accepted' });
  });

  it.each<[string, Record<string, unknown>, string, string]>([
    ['an unknown agent', { agentId: 'nobody' }, 'NOT_FOUND', 'input.agentId'],
    ['a malformed agent id', { agentId: "x'; drop table runs" }, 'BAD_USER_INPUT', 'input.agentId'],
    ['an empty idempotency key', { idempotencyKey: '' }, 'BAD_USER_INPUT', 'input.idempotencyKey'],
    ['a null idempotency key', { idempotencyKey: null }, 'BAD_USER_INPUT', 'input.idempotencyKey'],
    ['a missing part of the input', { input: {} }, 'BAD_USER_INPUT', 'input.input.ticketId'],
    [
      'a smuggled tenant',
      { input: { ticketId: 'T', tenantId: 'globex' } },
      'BAD_USER_INPUT',
      'input.input.tenantId',
    ],
    ['an unknown argument', { tenantId: 'globex' }, 'BAD_USER_INPUT', 'input.tenantId'],
    [
      'an input above 64 KiB',
      { input: { ticketId: 'x'.repeat(70_000) } },
      'PAYLOAD_TOO_LARGE',
      'input.input',
    ],
  ])('refuses %s with the name of the field, and stores nothing', async (_what, more, code, field) => {
    const before = await counts();
    // twice: the second time the compiled query answers
    for (const attempt of [1, 2, 3]) {
      const { errors, data } = await start(operator, `bad-${attempt}`, more);
      expect(errors, `attempt ${attempt}`).toMatchObject([{ extensions: { code, field } }]);
      expect(data).toBeNull();
    }
    expect(await counts()).toEqual(before);
  });

  it('refuses what is no GraphQL request, and what is too large to be read', async () => {
    expect(await ask(api.url, operator, '{"query":')).toMatchObject({
      errors: [{ extensions: { code: 'BAD_USER_INPUT', field: 'body' } }],
    });
    expect(await ask(api.url, operator, '{}')).toMatchObject({
      errors: [{ extensions: { code: 'BAD_USER_INPUT' } }],
    });
    expect(await ask(api.url, operator, JSON.stringify({ query: `# ${'x'.repeat(300_000)}` }))).toMatchObject(
      {
        status: 413,
        errors: [{ extensions: { code: 'PAYLOAD_TOO_LARGE', field: 'body' } }],
      },
    );
    expect(await api.ask(operator, `{ run(id: ${'['.repeat(5_000)}`)).toMatchObject({
      errors: [{ extensions: { code: 'QUERY_TOO_COMPLEX', field: 'query' } }],
    });
    expect(await api.ask(operator, '{ runz }')).toMatchObject({
      errors: [{ message: 'Cannot query field "runz" on type "Query".', extensions: { field: 'runz' } }],
    });
    expect(await api.ask(operator, '{ runs(first: 1000) { endCursor } }')).toMatchObject({
      errors: [{ extensions: { code: 'BAD_USER_INPUT', field: 'first' } }],
    });
  });

  it('answers for the ids of another tenant exactly as for ids that do not exist', async () => {
    const foreign = await startedId(operator, 'foreign');
    const approval = foreign.replace('.run.', '.approval.');
    const requests: [string, string][] = [
      [RUN, foreign],
      ['mutation ($id: ID!) { approve(id: $id) { id } }', approval],
      ['mutation ($id: ID!) { reject(id: $id) { id } }', approval],
    ];
    for (const [query, id] of requests) {
      const kind = id.includes('.run.') ? 'run' : 'approval';
      const others = [
        `globex.${kind}.${UNKNOWN}`,
        `acme.${kind}.${UNKNOWN}`,
        `nobody.${kind}.${UNKNOWN}`,
        'nonsense',
        '',
      ];
      const answer = await api.ask(globex, query, { id });
      expect(answer.errors).toMatchObject([{ extensions: { code: 'NOT_FOUND', field: 'id' } }]);
      for (const other of others)
        expect(await api.ask(globex, query, { id: other }), `${query} ${other}`).toEqual(answer);
    }
    const cursor = await api.ask(globex, 'query ($after: ID) { runs(after: $after) { endCursor } }', {
      after: foreign,
    });
    expect(
      await api.ask(globex, 'query ($after: ID) { runs(after: $after) { endCursor } }', {
        after: `acme.run.${UNKNOWN}`,
      }),
    ).toEqual(cursor);
  });

  it('pages through the own runs only, newest first, each once', async () => {
    for (const n of [1, 2, 3, 4, 5]) await startedId(globex, `page-${n}`);
    const seen: string[] = [];
    let after: string | null = null;
    do {
      const answer: Answer = await api.ask(
        globex,
        'query ($after: ID) { runs(first: 2, after: $after) { nodes { id } endCursor } }',
        { after },
      );
      const page = field<{ nodes: { id: string }[]; endCursor: string | null }>(answer, 'runs');
      seen.push(...page.nodes.map((run) => run.id));
      after = page.endCursor;
    } while (after !== null);
    const all = await api.database.asOwner<{ id: string }>(
      "SELECT id FROM runs WHERE tenant_id = 'globex' ORDER BY id DESC",
    );
    expect(seen).toEqual(all.map((row) => row.id));
    expect(seen.length).toBeGreaterThanOrEqual(5);
  });

  it('keeps faults of the platform to itself, but for an id that the log knows', async () => {
    const id = await startedId(operator, 'corrupt');
    await api.database.asOwner("UPDATE runs SET state = 'not-a-state' WHERE id = $1", [id]);
    const { errors } = await api.ask(operator, RUN, { id });
    const errorId = errors?.[0]?.extensions.id ?? 'none';
    expect(errors).toMatchObject([
      { message: 'Something went wrong on our side.', extensions: { code: 'INTERNAL' } },
    ]);
    expect(JSON.stringify(errors)).not.toContain('not-a-state');
    expect(api.logs.some((line) => line.includes(errorId) && line.includes('not-a-state'))).toBe(true);
    expect(api.logs.join('')).not.toContain(operator.slice(13));
    await api.database.asOwner("UPDATE runs SET state = 'accepted' WHERE id = $1", [id]);
  });
});
