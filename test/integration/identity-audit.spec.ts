import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ACME, field, GLOBEX, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';

interface Page {
  readonly nodes: readonly { kind: string; body: Record<string, unknown> }[];
  readonly endCursor: string | null;
}
const AUDIT =
  'query ($first: Int!, $after: ID) { audit(first: $first, after: $after) { nodes { seq kind at body } endCursor } }';

describe('the audit of a tenant', () => {
  let api: TestApi;
  let auditor: string;
  beforeAll(async () => {
    api = await startApi();
    auditor = await api.key(ACME, 'auditor');
  });
  afterAll(() => api?.close());

  const page = async (key: string, first: number, after: string | null = null): Promise<Page> =>
    field<Page>(await api.ask(key, AUDIT, { first, after }), 'audit');

  it('shows who changed what, newest first, page by page, and nothing of another tenant', async () => {
    const admin = await api.key(ACME, 'admin');
    for (const id of ['one', 'two', 'three']) {
      await api.ask(admin, 'mutation ($id: ID!) { createWorkspace(input: { id: $id, name: "W" }) { id } }', {
        id,
      });
    }
    const globex = await api.key(GLOBEX, 'admin');
    await api.ask(globex, 'mutation { createWorkspace(input: { id: "theirs", name: "W" }) { id } }');

    // ids of one, two, three and more digits: an order of texts would put 9 after 10
    await api.database.asOwner(
      "INSERT INTO journal_records (tenant_id, kind, body) SELECT 'acme', 'intent', '{}' FROM generate_series(1, 1200)",
    );
    for (const id of ['four', 'five']) {
      await api.ask(admin, 'mutation ($id: ID!) { createWorkspace(input: { id: $id, name: "W" }) { id } }', {
        id,
      });
    }

    const seen: string[] = [];
    let after: string | null = null;
    do {
      const { nodes, endCursor }: Page = await page(auditor, 2, after);
      seen.push(...nodes.map(({ body }) => `${String(body['change'])} ${String(body['workspace'])}`));
      after = endCursor;
    } while (after !== null);
    expect(seen.slice(0, 5)).toEqual([
      'workspace_created five',
      'workspace_created four',
      'workspace_created three',
      'workspace_created two',
      'workspace_created one',
    ]);
    expect(seen).toContain('policy_published undefined');
    expect(seen.join()).not.toContain('theirs');
    const [first] = (await page(auditor, 1)).nodes;
    expect(first).toMatchObject({
      kind: 'control',
      body: { by: `key:${admin.slice(4, 12)}`, after: { name: 'W' } },
    });
  });

  it('is for auditors and admins of the whole tenant, and takes only its own cursors', async () => {
    for (const after of ['', '0', '-1', 'x', "1' OR 1=1", '9'.repeat(19)]) {
      const { errors } = await api.ask(auditor, AUDIT, { first: 5, after });
      expect(errors?.[0]?.extensions.code, after).toBe('BAD_USER_INPUT');
    }
    const { errors } = await api.ask(await api.key(ACME, 'operator'), AUDIT, { first: 5 });
    expect(errors?.[0]?.extensions.code).toBe('FORBIDDEN');
  });

  it('is found by its own index, however much else the journal holds', async () => {
    await api.database.asOwner(
      `INSERT INTO journal_records (tenant_id, kind, body) SELECT 'acme', 'intent', '{}' FROM generate_series(1, 20000)`,
    );
    await api.database.asOwner('ANALYZE journal_records');
    const plan = await api.database.asOwner<{ 'QUERY PLAN': string }>(
      `EXPLAIN SELECT id FROM journal_records WHERE tenant_id = 'acme' AND kind IN ('control', 'refusal') AND id < 999 ORDER BY id DESC LIMIT 5`,
    );
    expect(JSON.stringify(plan)).toContain('journal_records_audit_idx');
  });
});
