import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { createHelpdesk } from './helpdesk.js';

const KEYS = { acme: 'key-of-acme', globex: 'key-of-globex' };
let server: Server;

afterEach(() => {
  server.close();
  server.closeAllConnections();
});

/** The helpdesk on a real port; returns a caller of it. */
async function open(ignoreKeys = false): Promise<(path: string, init?: RequestInit) => Promise<Response>> {
  const handler = createHelpdesk({ keys: KEYS, ignoreKeys, delayMs: 0 });
  server = createServer((request, response) => void handler(request, response));
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return (path, init = {}) =>
    fetch(`http://127.0.0.1:${port}${path}`, {
      ...init,
      headers: { authorization: `Bearer ${KEYS.acme}`, ...init.headers },
    });
}

const change = (answer: string, key?: string): RequestInit => ({
  method: 'PATCH',
  body: JSON.stringify({ answer }),
  headers: key === undefined ? {} : { 'idempotency-key': key },
});

describe('the helpdesk of the demo', () => {
  it('answers nobody without a key of its own', async () => {
    const call = await open();
    for (const authorization of ['', 'Bearer ', 'Bearer key-of-acm', 'Bearer key-of-acme2']) {
      expect((await call('/tickets/T-1001', { headers: { authorization } })).status).toBe(401);
    }
    expect((await call('/healthz', { headers: { authorization: '' } })).status).toBe(200);
  });

  it("shows another customer's ticket exactly as one that does not exist", async () => {
    const call = await open();
    const [foreign, missing] = await Promise.all([call('/tickets/T-2001'), call('/tickets/T-9999')]);
    expect([foreign.status, await foreign.text()]).toEqual([missing.status, await missing.text()]);
    expect((await call('/tickets/T-2001', change('stolen'))).status).toBe(404);
    const theirs = await call('/tickets/T-2001', { headers: { authorization: `Bearer ${KEYS.globex}` } });
    expect(await theirs.json()).toMatchObject({ status: 'open', answer: null });
  });

  it('makes the change of one idempotency key once, and answers it the same each time', async () => {
    const call = await open();
    const first = await (await call('/tickets/T-1001', change('one', 'k1'))).json();
    const second = await (await call('/tickets/T-1001', change('two', 'k1'))).json();
    expect(second).toEqual(first);
    await call('/tickets/T-1001', change('three', 'k2'));
    await call('/tickets/T-1001', change('four'));
    const { effects, requests } = (await (await call('/effects')).json()) as {
      effects: { key: string | null }[];
      requests: number;
    };
    expect(effects.map(({ key }) => key)).toEqual(['acme/k1', 'acme/k2', null]);
    expect(requests).toBe(4);
  });

  it('told to ignore keys it repeats the change: what a tool without idempotency does', async () => {
    const call = await open(true);
    await call('/tickets/T-1001', change('one', 'k1'));
    await call('/tickets/T-1001', change('two', 'k1'));
    expect(await (await call('/effects')).json()).toMatchObject({ requests: 2, effects: [{}, {}] });
  });

  it('refuses an answer that is none, and counts nothing', async () => {
    const call = await open();
    expect((await call('/tickets/T-1001', { method: 'PATCH', body: '{"answer":7}' })).status).toBe(422);
    expect((await call('/tickets/T-1001', { method: 'DELETE' })).status).toBe(405);
    expect(await (await call('/effects')).json()).toEqual({ effects: [], requests: 0 });
  });
});
