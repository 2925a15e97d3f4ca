import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { CallAnswer, Json } from '@bulkhead/contract';
import { findTool, putTool } from '@bulkhead/tool-gateway/admin';
import { openLine } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';

/** How soon another host obeys: it reads a tool once a second. */
const OBEYS_MS = 1_100;

describe('a tool that is not there, or wants to be left alone', () => {
  let line: LineUnderTest;
  let n = 0;
  beforeAll(async () => {
    line = await openLine();
    await line.database.asOwner("INSERT INTO quotas VALUES ('acme', 'tool_calls_per_day', 10000)");
  });
  afterEach(async () => {
    line.tool.raw = undefined;
    await line.database.asOwner('UPDATE tools SET held_until = NULL');
  });
  afterAll(() => line.close());

  const read = async (host: Host, tool = 'desk.read', tenant = 'acme'): Promise<CallAnswer> => {
    n += 1;
    return host.call(await line.newRun(tenant), tool, { id: `x${n}` });
  };
  const held = { kind: 'provider_unavailable', reason: { layer: 'provider_cooldown' } };

  it('one 429 holds every call of this tool, on every host, until the time it named', async () => {
    const [first, second] = [await line.newHost(), await line.newHost()];
    await read(second); // it has read the tool just now
    line.tool.raw = () => ({ status: 429, headers: { 'retry-after': '3' }, body: '' });
    const before = line.tool.requests.length;
    expect(await read(first)).toMatchObject({ kind: 'provider_unavailable' });
    line.tool.raw = undefined;
    expect(await read(first)).toMatchObject(held);
    await sleep(OBEYS_MS);
    const answer = await read(second);
    expect(answer).toMatchObject(held);
    expect(line.tool.requests.length).toBe(before + 1);
    // shown with the tool, with the end of it
    const { hold } = await findTool(line.db('acme'), 'desk.read');
    expect(hold).toMatchObject({ kind: 'provider_cooldown', until: expect.any(Date) as Date });
    expect(answer).toMatchObject({ reason: { resetsAt: hold?.until.toISOString() } });
    await sleep(2_500);
    expect(await read(second)).toMatchObject({ kind: 'ok' });
    expect((await findTool(line.db('acme'), 'desk.read')).hold).toBeUndefined();
  });

  it('the run shows that it is held back, and why, until its next call goes through', async () => {
    const host = await line.newHost();
    const run = await line.newRun('acme');
    const shown = async (): Promise<unknown> =>
      (await line.database.asOwner('SELECT state, reason FROM runs WHERE id = $1', [run.runId]))[0];
    line.tool.raw = () => ({ status: 429, headers: { 'retry-after': '30' }, body: '' });
    await host.call(run, 'desk.read', { id: 'x' });
    line.tool.raw = undefined;
    const answer = await host.call(run, 'desk.read', { id: 'y' });
    const reason = 'reason' in answer ? answer.reason : undefined;
    expect(await shown()).toEqual({ state: 'provider_unavailable', reason });
    expect(await host.call(run, 'desk.update', { id: 'x' })).toMatchObject({ kind: 'ok' });
    expect(await shown()).toEqual({ state: 'running', reason: null });
  });

  it("neither another tool nor another tenant's same tool is held by it", async () => {
    const host = await line.newHost();
    line.tool.raw = () => ({ status: 429, headers: { 'retry-after': '30' }, body: '' });
    await read(host);
    line.tool.raw = undefined;
    expect(await read(host)).toMatchObject(held);
    expect(await read(host, 'desk.update')).toMatchObject({ kind: 'ok' });
    expect(await read(host, 'desk.read', 'globex')).toMatchObject({ kind: 'ok' });
  });

  it("the tenant's own cap is told apart: it names its own layer", async () => {
    const host = await line.newHost();
    await line.database.asOwner('UPDATE quotas SET granted = 0');
    const capped = await read(host);
    await line.database.asOwner('DELETE FROM quotas');
    expect(capped).toMatchObject({ kind: 'budget_exceeded', reason: { layer: 'tool_calls_per_day' } });
  });

  it('attack: a pause of a year is one hour, and an answer that is not "later" holds nothing', async () => {
    const host = await line.newHost();
    line.tool.raw = () => ({ status: 500, headers: { 'retry-after': '31536000' }, body: '' });
    expect(await read(host)).toMatchObject({ kind: 'tool_failed' });
    expect((await findTool(line.db('acme'), 'desk.read')).hold).toBeUndefined();
    line.tool.raw = () => ({ status: 429, headers: { 'retry-after': '31536000' }, body: '' });
    expect(await read(host)).toMatchObject({ kind: 'provider_unavailable' });
    const { hold } = await findTool(line.db('acme'), 'desk.read');
    expect((hold?.until.getTime() ?? 0) - Date.now()).toBeLessThanOrEqual(3_600_000);
  });

  it('a tool that is down is left alone after five failures in a row; one call tries whether it is back', async () => {
    const host = await line.newHost();
    await putTool(line.db('acme'), 'down.read', {
      adapter: 'http',
      description: 'x',
      inputSchema: {
        type: 'object',
        properties: { id: { type: 'string' } },
        required: ['id'],
        additionalProperties: false,
      },
      url: `${line.tool.url}/things/{id}`,
      method: 'GET',
      effect: 'read',
      idempotency: 'none',
    });
    const over = "UPDATE tools SET held_until = now() - interval '1 s' WHERE id = 'down.read'";
    line.tool.raw = () => ({ status: 503, body: '' });
    for (let i = 0; i < 5; i += 1) await read(host, 'down.read');
    const before = line.tool.requests.length;
    const open = { kind: 'provider_unavailable', reason: { layer: 'circuit_open' } };
    expect(await read(host, 'down.read')).toMatchObject(open);
    expect(await read(await line.newHost(), 'down.read')).toMatchObject(open);
    expect(line.tool.requests.length).toBe(before);

    // its time is over: of ten calls at once one asks the tool
    await line.database.asOwner(over);
    const fresh = await line.newHost();
    const answers = await Promise.all(Array.from({ length: 10 }, () => read(fresh, 'down.read')));
    expect(line.tool.requests.length).toBe(before + 1);
    expect(answers.every(({ kind }) => kind === 'provider_unavailable')).toBe(true);

    await line.database.asOwner(over);
    line.tool.raw = undefined;
    const back = await line.newHost();
    expect(await read(back, 'down.read')).toMatchObject({ kind: 'ok' });
    expect((await findTool(line.db('acme'), 'down.read')).hold).toBeUndefined();
    const changes = await line
      .db('acme')
      .run((tx) => tx.journalRecord.findMany({ where: { kind: 'control' } }));
    const said = changes.map(({ body }) => body as { [name: string]: Json });
    expect(said).toContainEqual(expect.objectContaining({ change: 'tool_held', toolId: 'down.read' }));
    expect(said).toContainEqual(expect.objectContaining({ change: 'tool_back', toolId: 'down.read' }));
  });

  it('a call that was already answered is answered again, whatever the tool is now', async () => {
    const host = await line.newHost();
    const envelope = await line.newRun('acme');
    const first = await host.call(envelope, 'desk.read', { id: 'done' });
    line.tool.raw = () => ({ status: 429, headers: { 'retry-after': '30' }, body: '' });
    await read(host);
    expect(await host.call(envelope, 'desk.read', { id: 'done' })).toEqual(first);
  });
});
