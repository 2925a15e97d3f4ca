import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Envelope, Json, TenantId } from '@bulkhead/contract';
import { listJournal } from '@bulkhead/journal/admin';
import { verifyTenant } from '@bulkhead/journal/control';
import { listApprovals, publishPolicy } from '@bulkhead/policy/admin';
import { putTool } from '@bulkhead/tool-gateway/admin';
import { sealAll } from '../support/kept.js';
import { ALLOW_ALL, openLine } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';

const ACME = 'acme' as TenantId;
const TEXT = 'a text that nobody is to find again';

let line: LineUnderTest;
let host: Host;
let run: Envelope;

beforeAll(async () => {
  line = await openLine();
});
afterAll(() => line.close());
beforeEach(async () => {
  host = await line.newHost();
  await sealAll(line);
  run = await line.newRun('acme');
});

const publish = (settings: Json, rules: readonly Json[] = [ALLOW_ALL]) =>
  publishPolicy(line.db('acme'), {
    profile: 'default',
    document: { rules, settings } as Json,
    publishedBy: 'test',
    reason: 'test',
  });
const effectsOf = (envelope: Envelope) =>
  line.database.asOwner<{ request: Buffer | null; result: Buffer | null; undo: Buffer | null }>(
    'SELECT request, result, undo FROM effects WHERE run_id = $1 ORDER BY opened_at',
    [envelope.runId],
  );
const intents = async (envelope: Envelope) =>
  (await listJournal(line.db('acme'), envelope.runId))
    .filter(({ kind }) => kind === 'intent')
    .map(({ body }) => body as { [name: string]: Json });
const verified = async () => {
  await sealAll(line);
  return verifyTenant(line.control, ACME);
};

describe('settings.audit.arguments', () => {
  it('keeps what authorise saw, unless told', async () => {
    await publish({});
    await host.call(run, 'desk.update', { id: 'k1', text: TEXT });
    expect((await effectsOf(run))[0]?.request).toBeInstanceOf(Buffer);
    expect((await intents(run))[0]).toMatchObject({ requestDigest: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect((await intents(run))[0]).not.toHaveProperty('arguments');
  });

  it('`digest` holds from the next admit on, also for a run under way, and the intent says so', async () => {
    await publish({});
    await host.call(run, 'desk.update', { id: 'd1', text: TEXT });
    await publish({ audit: { arguments: 'digest' } });
    expect(await host.call(run, 'desk.update', { id: 'd2', text: TEXT })).toMatchObject({ kind: 'ok' });
    expect((await effectsOf(run)).map(({ request }) => request === null)).toEqual([false, true]);
    const [, second] = await intents(run);
    expect(second).toMatchObject({ arguments: 'digest', digest: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(second).not.toHaveProperty('requestDigest');
    // the call is still the same call: a retry gets its answer and sends nothing
    const sent = line.tool.requests.length;
    expect(await host.call(run, 'desk.update', { id: 'd2', text: TEXT })).toMatchObject({ kind: 'ok' });
    expect(line.tool.requests).toHaveLength(sent);
  });

  it('`digest` keeps no call that would undo this one either: it is made of its arguments', async () => {
    await putTool(line.db('acme'), 'desk.create', {
      adapter: 'http',
      description: 'x',
      inputSchema: { type: 'object', properties: { id: { type: 'string' } }, additionalProperties: false },
      url: `${line.tool.url}/things`,
      method: 'POST',
      effect: 'write',
      idempotency: 'keyed',
      compensation: { tool: 'desk.update', args: { id: { from: 'args', path: 'id' } } },
    });
    for (const [id, settings, kept] of [
      ['u1', {}, true],
      ['u2', { audit: { arguments: 'digest' } }, false],
    ] as const) {
      await publish(settings);
      await sealAll(line);
      const one = await line.newRun('acme');
      expect(await host.call(one, 'desk.create', { id })).toMatchObject({ kind: 'ok' });
      expect((await effectsOf(one))[0]?.undo instanceof Buffer).toBe(kept);
    }
  });

  it('a person who is asked sees the exact arguments all the same', async () => {
    const approval = { approvers: ['admin'], expiresInSeconds: 600 };
    await publish({ audit: { arguments: 'digest' } }, [{ ...(ALLOW_ALL as object), approval } as Json]);
    const args = { id: 'p1', text: TEXT };
    expect(await host.call(run, 'desk.send', args)).toMatchObject({ kind: 'approval_required' });
    const { nodes } = await listApprovals(line.db('acme'), line.keyRing, {
      first: 1,
      within: { runId: run.runId },
    });
    expect(nodes[0]?.arguments).toEqual(args);
  });

  it('a frozen policy keeps its settings as well', async () => {
    const document = { mode: 'frozen', rules: [ALLOW_ALL], settings: {} };
    const put = (over: object) =>
      publishPolicy(line.db('acme'), {
        profile: 'frozen',
        document: { ...document, ...over } as Json,
        publishedBy: 'test',
        reason: 'test',
      });
    await put({});
    await expect(put({ settings: { audit: { arguments: 'digest' } } })).rejects.toThrow('frozen');
    await put({ rules: [ALLOW_ALL, { id: 'stop', effect: 'deny', tools: ['x.*'] }] });
  });

  it('the chain and the books agree with or without arguments', async () => {
    expect(await verified()).toMatchObject({ chain: { ok: true }, problems: [] });
  });
});
