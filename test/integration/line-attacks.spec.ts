import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { BulkheadError, tenantId } from '@bulkhead/contract';
import type { CallAnswer, Envelope, Json } from '@bulkhead/contract';
import type { Admission } from '@bulkhead/journal/line';
import { listApprovals } from '@bulkhead/policy/admin';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import { putTool } from '@bulkhead/tool-gateway/admin';
import { admittingJournal } from '../support/admissions.js';
import { ALLOW_ALL, openLine, SECRET } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';

let line: LineUnderTest;
let host: Host;
let run: Envelope;

beforeAll(async () => {
  line = await openLine();
});
afterAll(() => line.close());
beforeEach(async () => {
  line.tool.requests.length = 0;
  line.tool.answer = () => ({ done: true });
  line.tool.raw = undefined;
  await line.publish('acme', [ALLOW_ALL]);
  host = await line.newHost();
  run = await line.newRun('acme');
});

const effectsOf = (runId: string) =>
  line.database.asOwner<{ state: string; outcome: string | null }>(
    'SELECT state, outcome FROM effects WHERE run_id = $1',
    [runId],
  );

/** As Temporal does: the same call again while the fault is one that may pass. */
async function callUntilAnswered(on: Host, tool: string, args: Json, tries = 20): Promise<CallAnswer> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await on.call(run, tool, args, { attempt });
    } catch (error) {
      if (attempt === tries) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** The real door, but the answer of the first `admit` is lost after its commit. */
function losesFirstAdmit(door: TenantDoor): Pick<TenantDoor, 'tenant'> {
  let lost = false;
  return {
    tenant(id) {
      const db = door.tenant(id);
      return {
        ...db,
        async call(name, argument, sealed) {
          const answer = await db.call(name, argument, sealed);
          if (name !== 'admit' || lost) return answer;
          lost = true;
          throw new BulkheadError('DATABASE_UNAVAILABLE', { internal: 'connection reset after the commit' });
        },
      };
    },
  };
}

describe('a crash between two awaits, in a host that lives on', () => {
  it('attack: the answer of admit is lost after its commit; the call goes on and is done once', async () => {
    const unlucky = await line.newHost({ door: losesFirstAdmit(line.door) });
    expect(await callUntilAnswered(unlucky, 'desk.send', { id: 'T-1' })).toMatchObject({ kind: 'ok' });
    expect(line.tool.requests).toHaveLength(1);
    expect(await effectsOf(run.runId)).toEqual([{ state: 'closed', outcome: 'ok' }]);
  });

  it('attack: the answer cannot be sealed; a keyed call is repeated, another one ends as indeterminate', async () => {
    let broken = true;
    const keyRing = {
      open: line.keyRing.open,
      seal: async (...given: Parameters<typeof line.keyRing.seal>) => {
        if (broken && given[1] === 'effect-result') throw new BulkheadError('SECRET_UNAVAILABLE');
        return line.keyRing.seal(...given);
      },
    };
    const unlucky = await line.newHost({ keyRing });
    await expect(unlucky.call(run, 'desk.update', { id: 'T-1' })).rejects.toMatchObject({
      code: 'SECRET_UNAVAILABLE',
    });
    expect(await unlucky.call(run, 'desk.send', { id: 'T-1' })).toMatchObject({ kind: 'indeterminate' });
    broken = false;
    expect(await callUntilAnswered(unlucky, 'desk.update', { id: 'T-1' })).toMatchObject({ kind: 'ok' });
    expect(await unlucky.call(run, 'desk.send', { id: 'T-1' })).toMatchObject({ kind: 'indeterminate' });
  });
});

describe('a ticket that its room did not make', () => {
  it('attack: an admission that the journal did not give sends nothing, not even for a tool without a credential', async () => {
    const forged = {
      tenantId: run.tenantId,
      key: 'x',
      toolId: 'open.send',
      host: 'h',
      token: 't',
      repeat: false,
    };
    const forger = await line.newHost({
      admit: async () => ({ kind: 'admitted', admission: forged as unknown as Admission }),
    });
    await expect(forger.call(run, 'open.send', { id: 'T-1' })).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(line.tool.requests).toEqual([]);
  });

  it('attack: the broker is asked for a credential with a copy of a ticket, a changed one, and one that is settled', async () => {
    const tickets: Admission[] = [];
    const seen = await line.newHost({
      broker: { lease: (ticket) => (tickets.push(ticket), line.broker.lease(ticket)) },
    });
    expect(await seen.call(run, 'desk.update', { id: 'T-1' })).toMatchObject({ kind: 'ok' });
    const [spent] = tickets;
    const genuine = await admittingJournal().admit(run.tenantId, 'desk');
    const lease = await line.broker.lease(genuine);
    expect(lease?.reveal()).toBe(SECRET);
    lease?.end();
    const forged = [
      { ...genuine },
      Object.create(genuine) as Admission,
      { ...genuine, tenantId: tenantId('globex') },
      { tenantId: run.tenantId, secret: { name: 'desk', version: 1, rules: 1 } } as Admission,
      spent as Admission,
    ];
    for (const ticket of forged)
      await expect(line.broker.lease(ticket)).rejects.toMatchObject({ code: 'INTERNAL' });
    for (const change of [{ tenantId: 'globex' }, { key: 'x' }, { host: 'h' }, { token: 't' }])
      expect(() => Object.assign(genuine, change)).toThrow(TypeError);
    expect(() => Object.assign(genuine.secret ?? {}, { name: 'other' })).toThrow(TypeError);
  });
});

describe('a tool that answers maliciously', () => {
  it('attack: an answer nested so deep that whoever walks it runs out of stack', async () => {
    const depth = 20_000;
    line.tool.raw = () => ({ status: 200, body: `${'['.repeat(depth)}${']'.repeat(depth)}` });
    expect(await callUntilAnswered(host, 'desk.send', { id: 'T-1' }, 3)).toMatchObject({
      kind: 'tool_failed',
    });
    expect(await effectsOf(run.runId)).toEqual([{ state: 'closed', outcome: 'tool_failed' }]);
  });

  it('attack: an error text that echoes the credential across the place where the text is cut', async () => {
    const shown: string[] = [];
    for (let shift = 0; shift < SECRET.length; shift += 3) {
      const before = 'x'.repeat(300 - shift);
      line.tool.raw = () => ({ status: 500, body: `${before}${SECRET}` });
      const answer = await host.call(run, 'desk.read', { id: `T-${shift}` });
      if (answer.kind === 'tool_failed') shown.push(answer.reason.message);
    }
    expect(shown).toHaveLength(Math.ceil(SECRET.length / 3));
    for (const text of shown) expect(text).not.toContain(SECRET.slice(0, 4));
  });

  it('attack: an error text that no database column and no JSON document can hold', async () => {
    line.tool.raw = () => ({ status: 500, body: `a\u0000b${'x'.repeat(260)}${'\u{1f600}'.repeat(60)}` });
    const answer = await host.call(run, 'desk.read', { id: 'T-1' });
    const text = answer.kind === 'tool_failed' ? answer.reason.message : '';
    expect(text).toContain('HTTP 500');
    expect(text).not.toContain('\u0000');
    expect(text.isWellFormed()).toBe(true);
  });
});

describe('arguments that lie', () => {
  it('attack: an argument name that the journal cannot hold is refused as a value, not as a fault', async () => {
    expect(await host.call(run, 'desk.read', { id: 'T-1', 'a\u0000b': 1 })).toMatchObject({
      kind: 'invalid_input',
    });
    expect(await host.call(run, 'desk.read', { id: 'T-1', ['x'.repeat(100_000)]: 1 })).toMatchObject({
      kind: 'invalid_input',
    });
    const [longest] = await line.database.asOwner<{ bytes: number }>(
      'SELECT max(octet_length(body::text)) AS bytes FROM journal_records WHERE run_id = $1',
      [run.runId],
    );
    expect(longest!.bytes).toBeLessThan(5_000);
  });

  it('attack: arguments larger than anyone could read in an approval', async () => {
    await openTool('desk.blob');
    const answer = await host.call(run, 'desk.blob', { data: { text: 'x'.repeat(300_000) } });
    expect(answer).toMatchObject({ kind: 'invalid_input', reason: { field: 'args' } });
    expect(line.tool.requests).toHaveLength(0);
  });

  it('attack: a part of the arguments that is sent, but not shown to the approver', async () => {
    await openTool('desk.note');
    await line.publish('acme', [
      { id: 'ask', effect: 'allow', tools: ['*'], approval: { approvers: ['admin'], expiresInSeconds: 60 } },
    ]);
    const args = JSON.parse('{"data":{"a":1,"__proto__":{"amount":1000000}}}') as Json;
    expect(await host.call(run, 'desk.note', args)).toMatchObject({ kind: 'approval_required' });
    const { nodes } = await listApprovals(line.db('acme'), line.keyRing, { first: 1, within: {} });
    expect(JSON.stringify(nodes[0]?.arguments)).toBe(JSON.stringify(args));
  });
});

describe('a declaration that attacks the host', () => {
  const declare = (over: object): Promise<unknown> =>
    putTool(line.db('acme'), 'desk.evil', {
      adapter: 'http',
      description: 'x',
      url: 'https://api.example.com/things/{id}',
      method: 'POST',
      effect: 'write',
      idempotency: 'keyed',
      inputSchema: {
        type: 'object',
        properties: { id: { type: 'string' } },
        required: ['id'],
        additionalProperties: false,
      },
      ...over,
    });

  it.each(['https:///{id}/x', 'https://a{id}.example.com/', 'https:////{id}', 'https://{id}@host/x'])(
    'attack: %s, where an argument chooses the host and no address is guarded',
    async (url) => {
      await expect(declare({ url })).rejects.toMatchObject({ code: 'BAD_INPUT', field: 'url' });
    },
  );

  it('attack: a pattern with which 28 characters stop every tenant of the host for seconds', async () => {
    const inputSchema = {
      type: 'object',
      properties: { id: { type: 'string', pattern: '^(a+)+$' } },
      required: ['id'],
      additionalProperties: false,
    };
    await expect(declare({ inputSchema })).rejects.toMatchObject({ code: 'BAD_INPUT', field: 'inputSchema' });
  });
});

/** A tool that takes any object under `data`. */
async function openTool(id: string): Promise<void> {
  await putTool(line.db('acme'), id, {
    adapter: 'http',
    description: 'x',
    url: `${line.tool.url}/things`,
    method: 'POST',
    effect: 'write',
    idempotency: 'keyed',
    inputSchema: {
      type: 'object',
      properties: { data: { type: 'object' } },
      required: ['data'],
      additionalProperties: false,
    },
  });
}
