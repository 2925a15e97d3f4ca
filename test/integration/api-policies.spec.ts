import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { putTool } from '@bulkhead/tool-gateway/admin';
import { ACME, AGENT, field, GLOBEX, startApi } from '../support/api.js';
import type { Answer, TestApi } from '../support/api.js';

const VERSION = 'profile version inForce mode document publishedBy reason';
const SAVE = `mutation ($input: SavePolicyDraftInput!) { savePolicyDraft(input: $input) { name revision baseVersion savedBy } }`;
const PUBLISH = `mutation ($input: PublishPolicyDraftInput!) { publishPolicyDraft(input: $input) { ${VERSION} } }`;
const MODE = `mutation ($mode: PolicyMode!) { setPolicyMode(profile: "default", mode: $mode, reason: "incident") { ${VERSION} } }`;
const EXPLAIN = `query ($input: ExplainCallInput!) { explainCall(input: $input) {
  outcome rule message version mode approvers limits { rule of per max amount } rules { id effect applies } } }`;

const ALLOW = { id: 'all', effect: 'allow', tools: ['*'] };
const DENY = { id: 'no-webhooks', effect: 'deny', tools: ['webhook.*'], reason: 'Nothing leaves.' };

describe('policies over GraphQL', () => {
  let api: TestApi;
  let admin: string;
  let viewer: string;
  let auditor: string;
  let globex: string;

  beforeAll(async () => {
    api = await startApi();
    [admin, viewer, auditor, globex] = await Promise.all([
      api.key(ACME, 'admin'),
      api.key(ACME, 'viewer'),
      api.key(ACME, 'auditor'),
      api.key(GLOBEX, 'admin'),
    ]);
    await putTool(api.deps.door.tenant(ACME), 'helpdesk.ticket.read', {
      adapter: 'http',
      description: 'Reads a ticket.',
      inputSchema: {
        type: 'object',
        properties: { ticketId: { type: 'string' } },
        required: ['ticketId'],
        additionalProperties: false,
      },
      url: 'https://helpdesk.example/tickets/{ticketId}',
      method: 'GET',
      effect: 'read',
      idempotency: 'natural',
    });
  });
  afterAll(() => api?.close());

  const codeOf = (answer: Answer): unknown => answer.errors?.[0]?.extensions?.['code'];
  const save = (document: unknown, name = 'draft', key = admin) =>
    api.ask(key, SAVE, { input: { profile: 'default', name, document, note: 'why not' } });
  const publish = (revision: number, name = 'draft', key = admin) =>
    api.ask(key, PUBLISH, { input: { profile: 'default', name, revision, reason: 'tested' } });
  interface Version {
    version: number;
    mode: string;
    document: { rules: unknown[] };
    inForce: boolean;
  }
  const inForce = async (): Promise<Version | undefined> =>
    field<Version[]>(await api.ask(admin, `{ policies { ${VERSION} } }`), 'policies')[0];
  /** Saves and publishes; what that answers. */
  const put = async (document: unknown): Promise<Answer> => {
    const { revision } = field<{ revision: number }>(await save(document), 'savePolicyDraft');
    return publish(revision);
  };

  it('a draft decides nothing until it is published; the history says who and why', async () => {
    const before = await inForce();
    const saved = field<{ revision: number; baseVersion: number }>(
      await save({ rules: [ALLOW, DENY] }),
      'savePolicyDraft',
    );
    expect(await inForce()).toEqual(before);
    const published = field<Version>(await publish(saved.revision), 'publishPolicyDraft');
    expect(published).toMatchObject({
      version: saved.baseVersion + 1,
      inForce: true,
      mode: 'enforce',
      document: { rules: [ALLOW, DENY] },
      reason: 'tested',
      publishedBy: `key:${admin.slice(4, 12)}`,
    });
    const history = await api.ask(auditor, `{ policyHistory(profile: "default") { ${VERSION} } }`);
    expect(field<Version[]>(history, 'policyHistory')[0]).toEqual(published);
    expect(field<unknown[]>(await api.ask(admin, '{ policyDrafts { name } }'), 'policyDrafts')).toEqual([]);
    expect(codeOf(await publish(saved.revision))).toBe('NOT_FOUND');
    const records = await api.database.asOwner<{ body: { change: string } }>(
      "SELECT body FROM journal_records WHERE tenant_id = 'acme' AND kind = 'control' ORDER BY id DESC LIMIT 1",
    );
    expect(records[0]?.body).toMatchObject({
      change: 'policy_published',
      version: published.version,
      reason: 'tested',
    });
  });

  it.each([
    [
      { rules: [{ ...ALLOW, when: { 'args.x': { regex: '(a+)+$' } } }] },
      'document.rules.0.when.args.x.regex',
    ],
    [{ rules: [{ ...ALLOW, tools: ['a.*.b'] }] }, 'document.rules.0.tools.0'],
    [{ rules: [ALLOW, ALLOW] }, 'document.rules'],
    [{ rules: [], settings: { audit: { arguments: 'no' } } }, 'document.settings.audit.arguments'],
    // this one does not even come in as JSON
    [JSON.parse('{"rules":[],"__proto__":{"mode":"observe"}}'), 'body'],
    ['no document', 'document'],
  ])(
    'a bad document is refused with its place, and the version before stays in force: %j',
    async (document, path) => {
      const before = await inForce();
      const answer = await save(document, 'bad');
      expect(answer.errors?.[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', field: path });
      expect(codeOf(await publish(1, 'bad'))).toBe('NOT_FOUND');
      expect(await inForce()).toEqual(before);
    },
  );

  it('shows the settings in force, in each version, in a diff and in what it explains', async () => {
    const SETTINGS = 'settings { arguments }';
    await put({ rules: [ALLOW] });
    const from = (await inForce())?.version ?? 0;
    const settings = { audit: { arguments: 'digest' } };
    await put({ rules: [ALLOW], settings });
    const history = await api.ask(auditor, `{ policyHistory(profile: "default") { version ${SETTINGS} } }`);
    expect(field<unknown[]>(history, 'policyHistory').slice(0, 2)).toEqual([
      { version: from + 1, settings: { arguments: 'digest' } },
      { version: from, settings: { arguments: 'kept' } },
    ]);
    const diff = await api.ask(
      auditor,
      `{ policyDiff(profile: "default", from: ${from}, to: ${from + 1}) { rules { id } settings { name before after } } }`,
    );
    expect(field(diff, 'policyDiff')).toEqual({
      rules: [],
      settings: [{ name: 'audit.arguments', before: 'kept', after: 'digest' }],
    });
    const explain = `query ($input: ExplainCallInput!) { explainCall(input: $input) { outcome ${SETTINGS} } }`;
    const input = { agentId: AGENT, toolId: 'helpdesk.ticket.read', arguments: { ticketId: 'T-1' } };
    expect(field(await api.ask(admin, explain, { input }), 'explainCall')).toMatchObject({
      outcome: 'allowed',
      settings: { arguments: 'digest' },
    });
    await put({ rules: [ALLOW] });
  });

  it('what was not read is not published: another revision, another version in force', async () => {
    const first = field<{ revision: number }>(await save({ rules: [ALLOW] }, 'one'), 'savePolicyDraft');
    await save({ rules: [] }, 'one');
    expect(codeOf(await publish(first.revision, 'one'))).toBe('INVALID_STATE');
    await save({ rules: [ALLOW] }, 'late');
    await put({ rules: [ALLOW, DENY] });
    const before = await inForce();
    expect(codeOf(await publish(1, 'late'))).toBe('INVALID_STATE');
    expect(await inForce()).toEqual(before);
  });

  it('says which models an agent may ask, by a rule about models and no other', async () => {
    for (const model of ['small', 'large'])
      await putTool(api.deps.door.tenant(ACME), `llm.${model}`, {
        adapter: 'model',
        description: 'Asks a model.',
        inputSchema: { type: 'object', properties: {}, additionalProperties: false },
        effect: 'read',
        idempotency: 'natural',
        baseUrl: 'https://models.example/v1',
        model,
      });
    const rules = [{ id: 'models', effect: 'allow', tools: ['*'], when: { model: { in: ['small'] } } }];
    await put({ rules });
    const explain = `query ($input: ExplainCallInput!) { explainCall(input: $input) { outcome rule facts } }`;
    const asked = async (toolId: string): Promise<unknown> => {
      const input = { agentId: AGENT, toolId, arguments: {} };
      return field(await api.ask(admin, explain, { input }), 'explainCall');
    };
    expect(await asked('llm.small')).toMatchObject({
      outcome: 'allowed',
      rule: 'models',
      facts: { model: 'small' },
    });
    expect(await asked('llm.large')).toMatchObject({ outcome: 'denied', facts: { model: 'large' } });
    const listed = await api.ask(admin, `{ agentTools(agentId: "${AGENT}") { allowed tool { id } } }`);
    expect(field(listed, 'agentTools')).toEqual([{ allowed: 'always', tool: { id: 'llm.small' } }]);
  });

  it('shows what changes between versions and to a draft, whatever the order of rules', async () => {
    const from = field<Version>(await put({ rules: [ALLOW, DENY] }), 'publishPolicyDraft').version;
    const changed = { ...DENY, reason: 'Really nothing.' };
    await save({ rules: [changed, { ...ALLOW, id: 'new' }, ALLOW], mode: 'observe' }, 'next');
    const diff = await api.ask(
      admin,
      `query ($from: Int!) { policyDiff(profile: "default", from: $from, draft: "next") { modeBefore modeAfter rules { id before after } } }`,
      { from },
    );
    expect(field(diff, 'policyDiff')).toEqual({
      modeBefore: 'enforce',
      modeAfter: 'observe',
      rules: [
        { id: 'new', before: null, after: { ...ALLOW, id: 'new' } },
        { id: 'no-webhooks', before: DENY, after: changed },
      ],
    });
  });

  it('frozen: only further deny and ask rules land, until the mode is changed with a reason', async () => {
    const ask = {
      id: 'ask',
      effect: 'ask',
      tools: ['*'],
      approval: { approvers: ['admin'], expiresInSeconds: 60 },
    };
    await put({ rules: [ALLOW, DENY] });
    expect(field(await api.ask(admin, MODE, { mode: 'frozen' }), 'setPolicyMode')).toMatchObject({
      mode: 'frozen',
    });
    const frozen = (rules: unknown[]) => ({ rules, mode: 'frozen' });
    const before = await inForce();
    for (const document of [
      frozen([ALLOW]),
      frozen([ALLOW, DENY, { ...ALLOW, id: 'more' }]),
      frozen([ALLOW, { ...DENY, when: { 'args.x': { eq: 1 } } }]),
      frozen([ALLOW, { ...DENY, tools: ['webhook.post'] }]),
      frozen([ALLOW, DENY, { ...ALLOW, id: 'asks', approval: ask.approval }]),
      frozen([
        ALLOW,
        DENY,
        { id: 'l', effect: 'limit', tools: ['*'], limit: { max: 1, per: 'day', of: 'run' } },
      ]),
      { rules: [ALLOW, DENY] },
      { rules: [ALLOW, DENY], mode: 'observe' },
    ]) {
      expect(codeOf(await put(document)), JSON.stringify(document)).toBe('INVALID_STATE');
    }
    expect(await inForce()).toEqual(before);
    const stop = { id: 'stop', effect: 'deny', tools: ['helpdesk.*'] };
    expect(codeOf(await put(frozen([stop, DENY, ask, ALLOW])))).toBeUndefined();
    expect(field(await api.ask(admin, MODE, { mode: 'enforce' }), 'setPolicyMode')).toMatchObject({
      mode: 'enforce',
    });
    expect(codeOf(await put({ rules: [ALLOW] }))).toBeUndefined();
  });

  it('explains a call that nobody makes, by the version in force, by a draft and as of a time', async () => {
    await put({
      rules: [
        ALLOW,
        { id: 'night', effect: 'deny', tools: ['*'], when: { 'time.hour': { gte: 22 } } },
        { id: 'personal', effect: 'deny', tools: ['*'], when: { 'run.read.personal': { eq: true } } },
        { id: 'few', effect: 'limit', tools: ['*'], limit: { max: 5, per: 'hour', of: 'agent' } },
      ],
    });
    const call = {
      agentId: AGENT,
      toolId: 'helpdesk.ticket.read',
      arguments: { ticketId: 'T-1' },
      at: '2026-11-24T12:00:00Z',
    };
    const explain = async (over: object = {}) =>
      field<{ outcome: string; rule: string }>(
        await api.ask(admin, EXPLAIN, { input: { ...call, ...over } }),
        'explainCall',
      );
    const effects = () => api.database.asOwner('SELECT count(*) FROM effects');
    const before = await effects();
    expect(await explain()).toEqual({
      outcome: 'allowed',
      rule: 'all',
      message: null,
      version: (await inForce())?.version,
      mode: 'enforce',
      approvers: null,
      limits: [{ rule: 'few', of: 'agent', per: 'hour', max: 5, amount: 1 }],
      rules: [
        { id: 'all', effect: 'allow', applies: 'yes' },
        { id: 'few', effect: 'limit', applies: 'yes' },
        { id: 'night', effect: 'deny', applies: 'no' },
        { id: 'personal', effect: 'deny', applies: 'no' },
      ],
    });
    expect(await explain({ at: '2026-11-24T23:00:00Z' })).toMatchObject({ outcome: 'denied', rule: 'night' });
    expect(await explain({ read: ['personal'] })).toMatchObject({ outcome: 'denied', rule: 'personal' });
    await save({ rules: [] }, 'empty');
    expect(await explain({ draft: 'empty' })).toMatchObject({
      outcome: 'denied',
      rule: 'default-deny',
      version: null,
    });
    expect(await explain({ version: 1 })).toMatchObject({ version: 1 });
    const bad = await api.ask(admin, EXPLAIN, { input: { ...call, arguments: { ticketId: 7 } } });
    expect(bad.errors?.[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', field: 'args.ticketId' });
    expect(await effects()).toEqual(before);
  });

  it('is for whom the table of roles says, and never for another tenant', async () => {
    const mine = await inForce();
    for (const key of [viewer, auditor]) {
      expect(codeOf(await save({ rules: [] }, 'x', key))).toBe('FORBIDDEN');
      expect(codeOf(await publish(1, 'x', key))).toBe('FORBIDDEN');
      expect(codeOf(await api.ask(key, MODE, { mode: 'observe' }))).toBe('FORBIDDEN');
    }
    expect(codeOf(await api.ask(viewer, '{ policies { version } }'))).toBe('FORBIDDEN');
    await save({ rules: [ALLOW] }, 'mine');
    expect(codeOf(await publish(1, 'mine', globex))).toBe('NOT_FOUND');
    expect(field(await api.ask(globex, '{ policyDrafts { name } }'), 'policyDrafts')).toEqual([]);
    await api.ask(globex, MODE, { mode: 'observe' });
    expect(await inForce()).toEqual(mine);
  });
});
