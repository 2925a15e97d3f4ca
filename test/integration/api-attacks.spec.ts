import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ACME, AGENT, startApi } from '../support/api.js';
import type { Answer, TestApi } from '../support/api.js';

const START = 'mutation ($input: StartRunInput!) { startRun(input: $input) { id state } }';

describe('attack: the API', () => {
  let api: TestApi;
  let admin: string;

  beforeAll(async () => {
    api = await startApi({ uiAddress: '127.0.0.1:1' });
    admin = await api.key(ACME, 'admin');
  });
  afterAll(() => api?.close());

  const codes = (answer: Answer) => answer.errors?.map(({ extensions: { code, field } }) => [code, field]);

  it('is not polluted by __proto__ in a literal or a variable', async () => {
    const literal = `mutation { startRun(input: { agentId: "${AGENT}", idempotencyKey: "p",
      input: { ticketId: "T-1", __proto__: { tenantId: "globex" } } }) { id } }`;
    expect(codes(await api.ask(admin, literal))).toEqual([['BAD_USER_INPUT', 'input.input.__proto__']]);
    const body = `{"query":${JSON.stringify(START)},"variables":{"input":{"agentId":"${AGENT}","idempotencyKey":"q","input":{"ticketId":"T-1","__proto__":{"polluted":1}}}}}`;
    const response = await fetch(`${api.url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${admin}` },
      body,
    });
    expect(((await response.json()) as Answer).errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
    expect(Reflect.get({}, 'polluted')).toBeUndefined();
    expect(Reflect.get({}, 'tenantId')).toBeUndefined();
  });

  it('survives an upgrade of the connection where none belongs', async () => {
    for (const path of [
      '/temporal/api/v1/namespaces',
      '/temporal',
      '/healthz',
      '/sign-in?token=x',
      '/nowhere',
    ]) {
      await new Promise<void>((resolve) => {
        const outgoing = request(`${api.url}${path}`, {
          headers: {
            connection: 'Upgrade',
            upgrade: 'websocket',
            'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
            'sec-websocket-version': '13',
          },
          signal: AbortSignal.timeout(2_000),
        });
        outgoing.on('response', (answer) => answer.resume().on('end', resolve));
        outgoing.on('upgrade', (_answer, socket) => {
          socket.destroy();
          resolve();
        });
        outgoing.on('error', () => resolve());
        outgoing.end();
      });
    }
    expect((await fetch(`${api.url}/healthz`)).status).toBe(200);
    expect(codes(await api.ask(admin, '{ me { role } }'))).toBeUndefined();
  });
});
