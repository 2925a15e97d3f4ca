import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildApprovalId } from '@bulkhead/contract';
import { removeContent } from '@bulkhead/journal/line';
import { publishPolicy } from '@bulkhead/policy/admin';
import { PURPOSES } from '@bulkhead/runtime/keys';
import { ACME, AGENT, field, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';

describe('what is kept of a run, over GraphQL', () => {
  let api: TestApi;
  let admin: string;

  beforeAll(async () => {
    api = await startApi();
    admin = await api.key(ACME, 'admin');
    await api.database.asOwner("UPDATE tenants SET status = 'active'");
  });
  afterAll(() => api?.close());

  const publish = (settings: object) =>
    publishPolicy(api.deps.door.tenant(ACME), {
      profile: 'default',
      document: JSON.parse(JSON.stringify({ rules: [], settings })),
      publishedBy: 'test',
      reason: 'test',
    });
  const start = async (key: string): Promise<string> => {
    const input = { agentId: AGENT, idempotencyKey: key, input: { ticketId: 'T-1' } };
    const mutation = 'mutation ($input: StartRunInput!) { startRun(input: $input) { id } }';
    return field<{ id: string }>(await api.ask(admin, mutation, { input }), 'startRun').id;
  };
  /** An approval of the run as the gateway leaves it, decided since. */
  const approval = async (runId: string, last: string): Promise<string> => {
    const id = buildApprovalId(ACME, `01kb3v6r2e8m4q7x9z0a1b${last}`);
    const facts = { tool: 'helpdesk.ticket.update', args: { ticketId: 'T-1' } };
    const plain = Buffer.from(JSON.stringify({ facts }));
    const request = await api.keyRing.seal(ACME, PURPOSES.effectRequest, plain);
    await api.database.asOwner(
      `INSERT INTO approvals (tenant_id, id, run_id, key, digest, tool_id, tool_version, target, rule, approvers, request, requested_by, state, expires_at)
       VALUES ('acme', $1, $2, $1, '\\x00', 'helpdesk.ticket.update', 1, 'helpdesk', 'r', '{admin}', $3, 'a', 'approved', now())`,
      [id, runId, request],
    );
    return id;
  };
  const RUN =
    'query ($id: ID!) { run(id: $id) { input result argumentsRemovedAt answersRemovedAt contentRemovedAt journal { kind body } } }';
  const APPROVALS = '{ approvals { nodes { id arguments argumentsRemovedAt consequences { effect } } } }';

  it('what was removed is missing with a date and a record, and nothing else fails', async () => {
    const id = await start('gone');
    const asked = await approval(id, '0001');
    await publish({ retention: { runsDays: 1, argumentsDays: 1, answersDays: 1 } });
    const before = await api.ask(admin, RUN, { id });
    expect(field(before, 'run')).toMatchObject({ input: { ticketId: 'T-1' }, contentRemovedAt: null });
    await api.database.asOwner(
      "UPDATE runs SET state = 'completed', finished_at = now() - interval '2 days' WHERE id = $1",
      [id],
    );
    while ((await removeContent(api.deps.door.tenant(ACME))).more);
    const after = await api.ask(admin, RUN, { id });
    expect(after.errors).toBeUndefined();
    const run = field<{ journal: { kind: string; body: object }[] }>(after, 'run');
    expect(run).toMatchObject({
      input: null,
      result: null,
      argumentsRemovedAt: expect.stringMatching(/Z$/),
      answersRemovedAt: expect.stringMatching(/Z$/),
      contentRemovedAt: expect.stringMatching(/Z$/),
    });
    expect(run.journal.filter(({ kind }) => kind === 'removal').map(({ body }) => body)).toEqual([
      expect.objectContaining({ removed: 'arguments', approvals: [asked], afterDays: 1 }),
      expect.objectContaining({ removed: 'content', profile: 'default', policyVersion: expect.any(Number) }),
    ]);
    const list = await api.ask(admin, APPROVALS);
    expect(list.errors).toBeUndefined();
    expect(field<{ nodes: unknown[] }>(list, 'approvals').nodes).toEqual([
      { id: asked, arguments: null, argumentsRemovedAt: expect.stringMatching(/Z$/), consequences: null },
    ]);
    const reset = 'mutation ($id: ID!) { resetRun(id: $id, reason: "again", to: first) { id } }';
    await api.database.asOwner('UPDATE runs SET started_at = created_at WHERE id = $1', [id]);
    expect((await api.ask(admin, reset, { id })).errors?.[0]).toMatchObject({
      message: expect.stringContaining('Start a new run'),
      extensions: { code: 'INVALID_STATE' },
    });
  });

  describe('settings.audit.reads', () => {
    const INPUT = 'query ($id: ID!) { run(id: $id) { input result } }';
    /** What the tenant's auditor is shown of reads, newest first. */
    const reads = async (): Promise<object[]> => {
      const audit = await api.ask(admin, '{ audit(first: 100) { nodes { body } } }');
      return field<{ nodes: { body: { change?: string } }[] }>(audit, 'audit')
        .nodes.map(({ body }) => body)
        .filter(({ change }) => change === 'content_read');
    };

    it('says nothing of who reads, unless told', async () => {
      await publish({});
      const id = await start('unrecorded');
      await api.ask(admin, INPUT, { id });
      await api.ask(admin, APPROVALS);
      expect(await reads()).toEqual([]);
    });

    it('`recorded`: one record for each run of an answer, with who, what and by which version', async () => {
      const viewer = await api.key(ACME, 'viewer');
      const [id] = [await start('recorded'), await start('recorded-too')];
      const sealed = await api.deps.payloads.sealArguments(ACME, [{ done: true }]);
      await api.database.asOwner('UPDATE runs SET result = $2 WHERE id = $1', [
        id,
        JSON.stringify(sealed[0]),
      ]);
      const asked = await approval(id, '0002');
      const { version } = await publish({ audit: { reads: 'recorded' } });
      const run = await api.ask(viewer, INPUT, { id });
      expect(field(run, 'run')).toEqual({ input: { ticketId: 'T-1' }, result: { done: true } });
      const by = { change: 'content_read', profile: 'default', policyVersion: version };
      const who = { ...by, actor: `key:${viewer.slice(4, 12)}` };
      expect(await reads()).toEqual([{ ...who, what: ['input', 'result'] }]);
      await api.ask(viewer, APPROVALS);
      expect((await reads())[0]).toEqual({ ...who, what: ['arguments'], approvals: [asked] });
      await api.ask(viewer, '{ approvals { nodes { id state } } runs { nodes { id state } } }');
      expect(await reads()).toHaveLength(2);
      await api.ask(viewer, '{ runs { nodes { id input } } }');
      const [{ n }] = (await api.database.asOwner<{ n: number }>(
        "SELECT count(*)::int AS n FROM runs WHERE tenant_id = 'acme' AND input <> 'null'",
      )) as [{ n: number }];
      expect(n).toBeGreaterThan(1);
      expect(await reads()).toHaveLength(2 + n);
    });

    it('tells nothing that it could not record', async () => {
      const id = await start('untold');
      await approval(id, '0003');
      await api.database.asOwner('REVOKE EXECUTE ON FUNCTION note_reads(jsonb) FROM bulkhead_app');
      const answers = [await api.ask(admin, INPUT, { id }), await api.ask(admin, APPROVALS)];
      await api.database.asOwner('GRANT EXECUTE ON FUNCTION note_reads(jsonb) TO bulkhead_app');
      expect(field(answers[0]!, 'run')).toEqual({ input: null, result: null });
      expect(JSON.stringify(answers.map(({ data }) => data))).not.toContain('T-1');
      for (const { errors } of answers) expect(errors?.[0]?.extensions?.['code']).toBe('INTERNAL');
    });

    it('records where it does not know what the document says', async () => {
      const { version } = await publish({});
      const id = await start('unknown');
      await api.database.asOwner(
        `UPDATE policies SET document = jsonb_set(document, '{settings}', '{"audit":{"reads":"later"}}')
          WHERE tenant_id = 'acme' AND version = $1`,
        [version],
      );
      const before = (await reads()).length;
      await api.ask(admin, INPUT, { id });
      expect(await reads()).toHaveLength(before + 1);
    });
  });
});
