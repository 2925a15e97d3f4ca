import { createServer } from 'node:http';
import type { IncomingMessage, RequestListener, Server } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import type { AddressInfo, Server as TcpServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { tenantId } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import { HttpToolSpec } from '@bulkhead/contract/schemas';
import type { HttpTool } from '@bulkhead/contract/schemas';
import type { Lease } from '@bulkhead/secret-broker/line';
import { refusal } from './adapter.js';
import type { Invocation } from './adapter.js';
import { createEgress } from './egress.js';
import { createHttpAdapter, pauseOf } from './http.js';
import { createHttpTransport } from './http-transport.js';

const open: (Server | TcpServer)[] = [];
/** Loopback is where these tests' tools are. */
const transport = createHttpTransport(createEgress({ allow: ['127.0.0.0/8'] }));
const adapter = createHttpAdapter(transport);

afterEach(() => {
  for (const server of open.splice(0)) {
    if ('closeAllConnections' in server) server.closeAllConnections();
    server.close();
  }
});

async function listen<S extends Server | TcpServer>(server: S): Promise<number> {
  open.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}
const serve = (listener: RequestListener): Promise<number> => listen(createServer(listener));

/** A lease as the gateway hands it over; the real one needs the real broker. */
const leaseFor = (boundHost: string): Lease =>
  ({
    boundHosts: ['other.example', boundHost],
    reveal: () => 'sk-12345678',
    end: () => undefined,
  }) as unknown as Lease;

function call(
  port: number,
  over: Partial<Invocation<HttpTool>> & { tool?: object } = {},
): Invocation<HttpTool> {
  const { tool, ...rest } = over;
  const spec = HttpToolSpec.parse({
    description: 'x',
    inputSchema: {},
    effect: 'write',
    idempotency: 'keyed',
    adapter: 'http',
    method: 'POST',
    url: `http://127.0.0.1:${port}/things/{id}`,
    ...tool,
  });
  return {
    tenantId: tenantId('acme'),
    spec,
    args: { id: 'T-1', answer: 'yes' },
    url: new URL(`http://127.0.0.1:${port}/things/T-1`),
    idempotencyKey: 'bh-1',
    lease: undefined,
    signal: AbortSignal.timeout(5_000),
    mayBegin: () => true,
    stillMine: () => true,
    ...rest,
  };
}
const CREDENTIAL = { credential: { secret: 's', slot: { header: 'authorization', prefix: 'Bearer ' } } };

async function bodyOf(request: IncomingMessage): Promise<Json> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return chunks.length === 0 ? null : (JSON.parse(Buffer.concat(chunks).toString()) as Json);
}

describe('HTTP adapter', () => {
  it('sends arguments that are not in the path as JSON, with the idempotency key and the credential', async () => {
    const seen: unknown[] = [];
    const port = await serve(async (request, response) => {
      const { authorization, 'idempotency-key': key } = request.headers;
      seen.push([request.method, request.url, authorization, key, await bodyOf(request)]);
      response.end('{"done":true}');
    });
    const ending = await adapter(call(port, { tool: CREDENTIAL, lease: leaseFor(`127.0.0.1:${port}`) }));
    expect(ending).toEqual({ kind: 'answered', outcome: 'ok', value: { done: true } });
    expect(seen).toEqual([['POST', '/things/T-1', 'Bearer sk-12345678', 'bh-1', { answer: 'yes' }]]);
  });

  it('puts the arguments of a GET into the query', async () => {
    const urls: (string | undefined)[] = [];
    const port = await serve((request, response) => {
      urls.push(request.url);
      response.end('1');
    });
    await adapter(
      call(port, {
        tool: { method: 'GET', effect: 'read', idempotency: 'natural' },
        args: { id: 'T-1', q: 'a&b', n: 2 },
      }),
    );
    expect(urls).toEqual(['/things/T-1?q=a%26b&n=2']);
  });

  it.each([
    [204, '', { outcome: 'ok', value: null }],
    [200, 'not json', { outcome: 'tool_failed' }],
    [
      404,
      '{"error":"no such ticket"}',
      { outcome: 'tool_failed', message: 'The tool answered HTTP 404: {"error":"no such ticket"}' },
    ],
    [500, 'boom', { outcome: 'tool_failed' }],
    [429, '', { outcome: 'provider_unavailable' }],
    [503, '', { outcome: 'provider_unavailable' }],
  ])('HTTP %i %j is an answer', async (status, text, expected) => {
    const port = await serve((_, response) => response.writeHead(status).end(text));
    expect(await adapter(call(port))).toMatchObject({ kind: 'answered', ...expected });
  });

  it.each([502, 504])('HTTP %i of a gateway says nothing about what happened behind it', async (status) => {
    const port = await serve((_, response) => response.writeHead(status).end());
    expect(await adapter(call(port))).toMatchObject({ kind: 'unknown' });
  });

  it('refuses an answer that is larger than declared, without reading all of it', async () => {
    const port = await serve((_, response) => response.end(JSON.stringify('x'.repeat(5_000))));
    expect(await adapter(call(port, { tool: { answerBytesMax: 1_000 } }))).toMatchObject({
      outcome: 'tool_failed',
    });
  });
});

describe('a pause that a tool asks for', () => {
  const now = Date.parse('2026-11-24T12:00:00Z');
  it.each([
    ['7', 7_000],
    ['0', 0],
    ['Tue, 24 Nov 2026 12:00:30 GMT', 30_000],
    ['Tue, 24 Nov 2026 11:00:00 GMT', 0],
    ['soon', undefined],
    ['-5', undefined],
    [undefined, undefined],
  ])('Retry-After %j', (text, expected) => {
    expect(pauseOf(text, now)).toBe(expected);
  });

  it('429 always asks, 503 only when it says how long', async () => {
    const asks = async (status: number, headers: Record<string, string>): Promise<unknown> => {
      const port = await serve((_, response) => response.writeHead(status, headers).end());
      return adapter(call(port));
    };
    expect(await asks(429, { 'retry-after': '3' })).toMatchObject({
      asksForPause: true,
      retryAfterMs: 3_000,
    });
    expect(await asks(429, {})).toMatchObject({ asksForPause: true });
    expect(await asks(503, { 'retry-after': '3' })).toMatchObject({
      asksForPause: true,
      retryAfterMs: 3_000,
    });
    expect(await asks(503, {})).toMatchObject({ asksForPause: false });
  });
});

describe('how a request can end', () => {
  it('nobody listens: not sent', async () => {
    const port = await serve(() => undefined);
    open.splice(0).forEach((server) => server.close());
    expect(await adapter(call(port))).toMatchObject({ kind: 'not_sent', refusal: 'unreachable' });
  });

  it('the name does not resolve: not sent', async () => {
    const url = new URL('http://no-such-host.invalid/');
    expect(await adapter(call(1, { url }))).toMatchObject({
      kind: 'not_sent',
      refusal: 'unreachable',
    });
  });

  it('cancelled before it began: not sent, and the server hears nothing', async () => {
    let requests = 0;
    const port = await serve(() => (requests += 1));
    expect(await adapter(call(port, { signal: AbortSignal.abort() }))).toMatchObject({ kind: 'not_sent' });
    expect(requests).toBe(0);
  });

  it('the host is fenced while it connects: the first byte stays here', async () => {
    let bytes = 0;
    const port = await listen(
      createTcpServer((socket) => socket.on('data', (data) => (bytes += data.length))),
    );
    const ending = await adapter(call(port, { stillMine: () => false }));
    expect(ending).toMatchObject({ kind: 'not_sent', refusal: 'host_fenced' });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(bytes).toBe(0);
  });

  it.each([
    [
      'changes the protocol',
      'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
      {},
    ],
    ['announces an answer for ever', 'HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n'.repeat(1_000), {}],
    ['names two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}', {}],
    ['says nothing of HTTP', '{}', {}],
    [
      'has a status that is none',
      'HTTP/1.1 000 X\r\ncontent-length: 2\r\n\r\n{}',
      { outcome: 'tool_failed' },
    ],
  ])('attack: a server that %s is done with at once', async (_attack, said, expected) => {
    const port = await listen(
      createTcpServer((socket) => {
        socket.on('error', () => undefined);
        socket.once('data', () => socket.write(said));
      }),
    );
    const began = performance.now();
    const ending = await adapter(call(port));
    expect(ending).toMatchObject('outcome' in expected ? expected : { kind: 'unknown' });
    expect(performance.now() - began).toBeLessThan(4_000);
  });

  it('a call that may not begin does not even connect', async () => {
    let connections = 0;
    const port = await listen(createTcpServer(() => (connections += 1)));
    expect(await adapter(call(port, { mayBegin: () => false }))).toMatchObject({ refusal: 'host_fenced' });
    expect(connections).toBe(0);
  });

  it('only a socket that stands asks for the first byte: a stop still finds a call that connects not sent', async () => {
    const asked: string[] = [];
    const stillMine = (): boolean => asked.push('first byte') > 0;
    expect(await adapter(call(1, { stillMine }))).toMatchObject({ kind: 'not_sent', refusal: 'unreachable' });
    expect(asked).toEqual([]);
    const port = await serve((_request, response) => response.end('{}'));
    expect(await adapter(call(port, { stillMine }))).toMatchObject({ kind: 'answered' });
    expect(asked).toEqual(['first byte']);
  });

  it('an answer that comes before the request has been said to its end ends it: no further byte leaves', async () => {
    const size = 16 * 1_048_576;
    let got = 0;
    const port = await listen(
      createTcpServer((socket) => {
        socket.on('error', () => undefined); // it is closed while we still hear
        socket.once('data', () => {
          socket.pause();
          socket.write('HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\n{}');
          setTimeout(() => socket.resume(), 200);
        });
        socket.on('data', (data) => (got += data.length));
      }),
    );
    const args = { id: 'T-1', answer: 'x'.repeat(size) };
    expect(await adapter(call(port, { args }))).toMatchObject({ outcome: 'tool_failed' });
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(got).toBeLessThan(size);
  });

  it('sent, and the connection breaks: unknown', async () => {
    const port = await serve((request) => request.socket.destroy());
    expect(await adapter(call(port))).toMatchObject({ kind: 'unknown' });
  });

  it('sent, and no answer within the timeout: unknown', async () => {
    const port = await serve(() => undefined);
    expect(await adapter(call(port, { signal: AbortSignal.timeout(100) }))).toMatchObject({
      kind: 'unknown',
    });
  });

  it('the answer breaks off: unknown when it may be repeated, failed when it may not', async () => {
    const port = await serve((request, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('{"half":');
      setTimeout(() => request.socket.destroy(), 20);
    });
    expect(await adapter(call(port))).toMatchObject({ kind: 'unknown' });
    expect(await adapter(call(port, { tool: { idempotency: 'none' } }))).toMatchObject({
      outcome: 'tool_failed',
    });
  });

  it('a keep-alive connection that the server closes between calls costs no tool without keys its certainty', async () => {
    const server = createServer((_, response) => response.end('1'));
    server.keepAliveTimeout = 1;
    const port = await listen(server);
    for (let i = 0; i < 5; i += 1) {
      expect(await adapter(call(port, { tool: { idempotency: 'none' } }))).toMatchObject({ outcome: 'ok' });
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  });

  it.each([
    ['none', 3],
    ['natural', 1],
  ])('three calls of a tool with idempotency %s take %i connections', async (idempotency, expected) => {
    let connections = 0;
    const server = createServer((_, response) => response.end('1'));
    server.on('connection', () => (connections += 1));
    const port = await listen(server);
    for (let i = 0; i < 3; i += 1) {
      expect(await adapter(call(port, { tool: { idempotency } }))).toMatchObject({ outcome: 'ok' });
    }
    expect(connections).toBe(expected);
  });
});

describe('attacks on the destination', () => {
  it('a redirect does not take the request, or its credential, anywhere', async () => {
    let stolen = 0;
    const thief = await serve(() => (stolen += 1));
    const port = await serve((_, response) =>
      response.writeHead(307, { location: `http://127.0.0.1:${thief}/` }).end(),
    );
    const ending = await adapter(call(port, { tool: CREDENTIAL, lease: leaseFor(`127.0.0.1:${port}`) }));
    expect(ending).toMatchObject({ outcome: 'tool_failed' });
    expect(stolen).toBe(0);
  });

  it('a tool that points elsewhere does not carry the credential there', async () => {
    let requests = 0;
    const port = await serve(() => (requests += 1));
    for (const boundHost of [
      'helpdesk.example',
      `127.0.0.1:${port + 1}`,
      '127.0.0.1',
      `127.0.0.1:${port}.evil.example`,
    ]) {
      expect(await adapter(call(port, { tool: CREDENTIAL, lease: leaseFor(boundHost) }))).toMatchObject({
        kind: 'not_sent',
        refusal: 'denied',
      });
    }
    expect(requests).toBe(0);
  });

  it('attack: the same host without TLS; a credential bound to a name goes there encrypted or not at all', async () => {
    const plain = new URL('http://api.example.com/x');
    const safe = new URL('https://api.example.com/x');
    const about = (url: URL, boundHost: string) =>
      refusal({ ...call(1, { tool: CREDENTIAL, lease: leaseFor(boundHost) }), url });
    expect(about(plain, 'api.example.com')).toMatchObject({ kind: 'not_sent', refusal: 'denied' });
    expect(about(new URL('http://api.example.com:443/x'), 'api.example.com:443')).toMatchObject({
      kind: 'not_sent',
      refusal: 'denied',
    });
    expect(about(safe, 'api.example.com')).toBeUndefined();
    expect(about(safe, 'api.example.com:443')).toBeUndefined();
    expect(about(plain, 'api.example.com:80')).toBeUndefined();
  });

  it('a tool that needs a credential is not called without one', async () => {
    expect(await adapter(call(1, { tool: CREDENTIAL }))).toMatchObject({
      kind: 'not_sent',
      refusal: 'denied',
    });
  });

  it.each([
    '127.0.0.1',
    'localhost',
    '[::1]',
    '[::ffff:127.0.0.1]',
    '169.254.169.254',
    '10.0.0.1',
    '0x7f.1',
    '2130706433',
    '0.0.0.0',
  ])('an agent may not choose %s: our own network is not a destination', async (host) => {
    let requests = 0;
    const port = await serve(() => (requests += 1));
    const url = new URL(`http://${host}:${port}/`);
    const tool = { url: undefined, urlArgument: 'url' };
    expect(await adapter(call(port, { tool, url }))).toMatchObject({ kind: 'not_sent', refusal: 'denied' });
    expect(requests).toBe(0);
  });
});
