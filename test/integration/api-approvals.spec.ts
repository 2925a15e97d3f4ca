import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildApprovalId } from '@bulkhead/contract';
import type { Json, TenantId } from '@bulkhead/contract';
import { openSealed } from '@bulkhead/runtime/codec';
import { PURPOSES } from '@bulkhead/runtime/keys';
import { ACME, AGENT, field, GLOBEX, startApi } from '../support/api.js';
import type { Answer, TestApi } from '../support/api.js';

const LIST =
  'query ($state: ApprovalState) { approvals(state: $state) { nodes { id runId toolId target arguments state } } }';
const APPROVE =
  'mutation ($id: ID!) { approve(id: $id, reason: "looks right") { id state decidedBy reason } }';
const REJECT = 'mutation ($id: ID!) { reject(id: $id, reason: "no") { id state } }';
const ARGUMENTS = { ticketId: 'T-1', status: 'solved' };

describe('approvals', () => {
  let api: TestApi;
  let operator: string;
  let admin: string;
  let globex: string;
  let runId: string;
  let last = 0;

  beforeAll(async () => {
    api = await startApi();
    [operator, admin, globex] = await Promise.all([
      api.key(ACME, 'operator'),
      api.key(ACME, 'admin'),
      api.key(GLOBEX, 'admin'),
    ]);
    const started = await api.ask(
      operator,
      'mutation ($input: StartRunInput!) { startRun(input: $input) { id } }',
      {
        input: { agentId: AGENT, idempotencyKey: 'r', input: { ticketId: 'T-1' } },
      },
    );
    runId = field<{ id: string }>(started, 'startRun').id;
  });
  afterAll(() => api?.close());

  /** A pending approval as the gateway leaves it, asked for by the operator's key. */
  const pending = async (
    requestedBy = `key:${operator.slice(4, 12)}`,
    expiresInSeconds = 600,
  ): Promise<string> => {
    last += 1;
    const id = buildApprovalId(ACME, `01kb3v6r2e8m4q7x9z0a1b${String(last).padStart(4, '0')}`);
    const facts: Json = { tool: 'helpdesk.ticket.update', args: ARGUMENTS };
    const request = await api.keyRing.seal(
      ACME,
      PURPOSES.effectRequest,
      Buffer.from(JSON.stringify({ facts })),
    );
    await api.database.asOwner(
      `INSERT INTO approvals (tenant_id, id, run_id, key, digest, tool_id, tool_version, target, rule, approvers, request, requested_by, expires_at)
       VALUES ('acme', $1, $2, $1, '\\x00', 'helpdesk.ticket.update', 1, 'helpdesk', 'writes-need-approval', '{admin}', $3, $4, now() + make_interval(secs => $5))`,
      [id, runId, request, requestedBy, expiresInSeconds],
    );
    return id;
  };
  const code = (answer: Answer): string | undefined => answer.errors?.[0]?.extensions.code;
  /** Signals that were ordered for an approval; their arguments are sealed, so each is opened to know. */
  const signals = async (id: string): Promise<number> => {
    const rows = await api.database.asOwner<{ tenant: TenantId; argument: Json }>(
      "SELECT tenant_id AS tenant, payload->'args'->0 AS argument FROM outbox WHERE kind = 'signal'",
    );
    const opened = rows.map(({ tenant, argument }) => openSealed(api.keyRing, tenant, argument));
    return (await Promise.all(opened)).filter((argument) => isDeepStrictEqual(argument, { approvalId: id }))
      .length;
  };

  it('shows one that became void, and nobody can decide it', async () => {
    const id = await pending();
    await api.database.asOwner("UPDATE approvals SET state = 'void' WHERE id = $1", [id]);
    const { nodes } = field<{ nodes: { id: string; state: string }[] }>(
      await api.ask(admin, LIST, { state: 'void' }),
      'approvals',
    );
    expect(nodes).toMatchObject([{ id, state: 'void' }]);
    expect((await api.ask(admin, APPROVE, { id })).errors?.[0]?.extensions).toMatchObject({
      code: 'INVALID_STATE',
    });
  });

  it('show the approver the exact arguments, which the database holds encrypted', async () => {
    const id = await pending();
    const page = field<{ nodes: unknown[] }>(await api.ask(admin, LIST, { state: 'pending' }), 'approvals');
    expect(page.nodes).toContainEqual({
      id,
      runId,
      toolId: 'helpdesk.ticket.update',
      target: 'helpdesk',
      arguments: ARGUMENTS,
      state: 'pending',
    });
    const [row] = await api.database.asOwner<{ request: string }>(
      "SELECT encode(request, 'escape') AS request FROM approvals WHERE id = $1",
      [id],
    );
    expect(row?.request).not.toContain('solved');
    expect(field<{ nodes: unknown[] }>(await api.ask(globex, LIST), 'approvals').nodes).toEqual([]);
  });

  it('are decided once, by the role that the rule names, and wake the run', async () => {
    const id = await pending();
    expect(code(await api.ask(operator, APPROVE, { id }))).toBe('FORBIDDEN');
    const decided = await api.ask(admin, APPROVE, { id });
    expect(decided.data?.approve).toEqual({
      id,
      state: 'approved',
      decidedBy: `key:${admin.slice(4, 12)}`,
      reason: 'looks right',
    });
    expect(code(await api.ask(admin, REJECT, { id }))).toBe('INVALID_STATE');
    expect(await signals(id)).toBe(1);
  });

  it('let one of many deciders win when they decide at the same moment', async () => {
    const id = await pending();
    const answers = await Promise.all(
      [APPROVE, REJECT, APPROVE, REJECT, APPROVE].map((query) => api.ask(admin, query, { id })),
    );
    expect(answers.filter((answer) => answer.errors === undefined)).toHaveLength(1);
    expect(answers.map(code).filter((given) => given === 'INVALID_STATE')).toHaveLength(4);
    expect(await signals(id)).toBe(1);
  });

  it("are not given by whoever asked for them (approving one's own call)", async () => {
    const id = await pending(`key:${admin.slice(4, 12)}`);
    expect(code(await api.ask(admin, APPROVE, { id }))).toBe('FORBIDDEN');
    expect(await signals(id)).toBe(0);
  });

  it('cannot be given after they expired', async () => {
    const id = await pending(undefined, -1);
    expect(code(await api.ask(admin, APPROVE, { id }))).toBe('INVALID_STATE');
    expect(await signals(id)).toBe(0);
  });

  it('of another tenant answer exactly as approvals that do not exist', async () => {
    const id = await pending();
    for (const query of [APPROVE, REJECT]) {
      const foreign = await api.ask(globex, query, { id });
      expect(foreign.errors).toMatchObject([{ extensions: { code: 'NOT_FOUND', field: 'id' } }]);
      for (const other of [
        buildApprovalId(GLOBEX, '01kb3v6r2e8m4q7x9z0a1b2c3d'),
        buildApprovalId(ACME, '01kb3v6r2e8m4q7x9z0a1b2c3d'),
      ]) {
        expect(await api.ask(globex, query, { id: other })).toEqual(foreign);
      }
    }
    expect(await signals(id)).toBe(0);
  });
});
