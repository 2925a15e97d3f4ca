import { createServer } from 'node:http';
import type { IncomingHttpHeaders, Server } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { tenantId } from '@bulkhead/contract';
import { McpToolSpec } from '@bulkhead/contract/schemas';
import { createEgress } from './egress.js';
import { createMcpAdapter } from './mcp.js';
import { createMcpPool } from './mcp-pool.js';

/** The official SDK's own server over streamable HTTP, on a real socket. */
let server: Server;
let url: URL;
const seen: IncomingHttpHeaders[] = [];
/** Tools that were really called. */
const called: string[] = [];

beforeAll(async () => {
  server = createServer((request, response) => {
    seen.push(request.headers);
    const mcp = new McpServer({ name: 'office', version: '1' });
    mcp.registerTool('add', { inputSchema: { a: z.number(), b: z.number() } }, ({ a, b }) => {
      called.push('add');
      return { content: [{ type: 'text', text: String(a + b) }] };
    });
    mcp.registerTool('flood', { inputSchema: {} }, () => ({
      content: [{ type: 'text', text: 'x'.repeat(1_000_000) }],
    }));
    mcp.registerTool('die', { inputSchema: {} }, () => {
      request.socket.destroy();
      return { content: [] };
    });
    // stateless: one server per request, as the SDK's own example does it
    const transport = new StreamableHTTPServerTransport();
    response.on('close', () => void mcp.close());
    mcp.connect(transport as Transport).then(
      () => transport.handleRequest(request, response),
      (error: Error) => response.destroy(error),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
  for (const tool of ['add', 'flood', 'die']) {
    const refused = await call(tool);
    if (refused.kind === 'not_sent' && refused.offer?.pin) pins.set(tool, refused.offer.pin);
  }
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const pool = createMcpPool({ dataDir: '/nonexistent', path: '', servers: {} });
const adapter = createMcpAdapter(pool, createEgress({ allow: ['127.0.0.0/8'] }));
/** What an admin approved: the tool as the server lists it at the start. */
const pins = new Map<string, string>();
const call = (tool: string, args: object = {}, over: object = {}, pin = pins.get(tool)) =>
  adapter({
    tenantId: tenantId('acme'),
    spec: McpToolSpec.parse({
      ...(pin === undefined ? {} : { pin }),
      description: 'x',
      inputSchema: {},
      effect: 'write',
      idempotency: 'none',
      adapter: 'mcp',
      server: { url: url.href },
      tool,
    }),
    args: { ...args },
    url,
    idempotencyKey: 'bh-1',
    lease: undefined,
    signal: AbortSignal.timeout(10_000),
    mayBegin: () => true,
    stillMine: () => true,
    ...over,
  });

/** Passes one exchange on to the real server. */
const relay = (body: string, headers: IncomingHttpHeaders): Promise<Response> => {
  const { accept = '', 'content-type': type = '' } = headers;
  return fetch(url, { method: 'POST', body, headers: { accept, 'content-type': type } });
};

describe('MCP over streamable HTTP', () => {
  it('calls a tool of a real server and returns what it said', async () => {
    expect(await call('add', { a: 19, b: 23 })).toMatchObject({ kind: 'answered', outcome: 'ok' });
    expect(JSON.stringify(await call('add', { a: 19, b: 23 }))).toContain('42');
  });

  it('calls nothing that nobody approved, and says what is offered', async () => {
    const refused = { kind: 'not_sent', refusal: 'denied' };
    expect(await call('add', { a: 1, b: 2 }, {}, '0'.repeat(64))).toMatchObject({
      ...refused,
      offer: { pin: pins.get('add'), inputSchema: { type: 'object' } },
    });
    expect(await call('no_such_tool')).toMatchObject({ ...refused, offer: { pin: null } });
  });

  it('takes a refusal of the server as an answer', async () => {
    expect(await call('add', { a: 'one' })).toMatchObject({ kind: 'answered', outcome: 'tool_failed' });
  });

  it('attack: an answer far above the limit is cut at once', async () => {
    const began = performance.now();
    expect(await call('flood')).toMatchObject({
      kind: 'answered',
      outcome: 'tool_failed',
      message: 'The answer of the tool is too large.',
    });
    // by the flood itself, not by the call's timeout of 10 s
    expect(performance.now() - began).toBeLessThan(5_000);
  });

  it('a server that dies in the middle of a call leaves its outcome unknown', async () => {
    expect(await call('die')).toMatchObject({ kind: 'unknown' });
  });

  it('attack: arguments that look like a message of the protocol do not make a call look unsent', async () => {
    for (const method of ['notifications/cancelled', 'tools/list'])
      expect(await call('die', { method })).toMatchObject({ kind: 'unknown' });
  });

  it('a server that is not there was sent nothing', async () => {
    const away = new URL('http://127.0.0.1:1/mcp');
    expect(await call('add', { a: 1, b: 1 }, { url: away })).toMatchObject({ kind: 'not_sent' });
  });

  it('a host that may no longer act sends no call', async () => {
    const before = seen.length;
    const refused = { kind: 'not_sent', refusal: 'host_fenced' };
    expect(await call('add', { a: 1, b: 1 }, { mayBegin: () => false })).toMatchObject(refused);
    expect(seen.length).toBe(before);
    // it becomes so while the server is asked what it offers: the call itself stays here
    const said = called.length;
    expect(await call('add', { a: 1, b: 1 }, { stillMine: () => false })).toMatchObject(refused);
    expect(seen.length).toBeGreaterThan(before);
    expect(called.slice(said)).not.toContain('add');
  });

  it('a server that goes away between its offer and the call was not sent the call', async () => {
    let offered = false;
    const gone = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const asked = Buffer.concat(chunks).toString();
        offered ||= asked.includes('tools/list');
        void relay(asked, request.headers).then(async (answer) => {
          response.writeHead(answer.status, {
            'content-type': answer.headers.get('content-type') ?? 'text/plain',
          });
          response.end(await answer.text());
          if (offered) gone.close();
        });
      });
    });
    await new Promise<void>((resolve) => gone.listen(0, '127.0.0.1', resolve));
    const place = new URL(`http://127.0.0.1:${(gone.address() as AddressInfo).port}/mcp`);
    expect(await call('add', { a: 1, b: 1 }, { url: place })).toMatchObject({
      kind: 'not_sent',
      refusal: 'unreachable',
    });
    expect(offered).toBe(true);
  });

  it('attack: a server that changes the protocol, or announces its answer for ever, is done with at once', async () => {
    for (const said of [
      'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
      'HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n'.repeat(1_000),
    ]) {
      const liar = createTcpServer((socket) => {
        socket.on('error', () => undefined);
        socket.once('data', () => socket.write(said));
      });
      await new Promise<void>((resolve) => liar.listen(0, '127.0.0.1', resolve));
      const place = new URL(`http://127.0.0.1:${(liar.address() as AddressInfo).port}/mcp`);
      const began = performance.now();
      expect(await call('add', { a: 1, b: 1 }, { url: place })).toMatchObject({ kind: 'not_sent' });
      expect(performance.now() - began).toBeLessThan(5_000);
      liar.close();
    }
  });

  it('attack: the server asks for more than the declared slot, and no header of ours tells it anything', () => {
    for (const headers of seen) {
      expect(Object.keys(headers)).not.toContain('cookie');
      expect(headers.authorization).toBeUndefined();
    }
  });
});
