import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Json } from '@bulkhead/contract';
import { putTool } from '@bulkhead/tool-gateway/admin';
import { storeSecret } from '@bulkhead/secret-broker/admin';
import { openLine } from '../support/line.js';
import { zeroOf } from './proof.js';
import type { Proof } from './proof.js';

const SECRET = 'bound-8fk2Lw93';
const STATUSES = [300, 301, 302, 303, 305, 307, 308] as const;
const KINDS = ['http', 'model', 'mcp'] as const;

/**
 * A credential is bound to one host. The tool there redirects to another port, name, scheme and path, and tools are
 * declared that point somewhere else from the start. Every server that is not the bound one keeps what it hears.
 */
export const run: Proof = async ({ progress }) => {
  const line = await openLine();
  const heard: string[] = [];
  const listen = (request: IncomingMessage, response: ServerResponse): void => {
    heard.push(`${request.headers.host}${request.url} ${JSON.stringify(request.headers).includes(SECRET)}`);
    response.end('{}');
  };
  const thief = await serve(listen);
  const bound = await serve((request, response) => {
    const [, status, to] = /\/r\/(\d+)\/([^/?]+)/.exec(request.url ?? '') ?? [];
    if (status === undefined) return void response.end('{}');
    response.writeHead(Number(status), { location: decodeURIComponent(to ?? '') }).end();
  });
  const elsewhere = [
    `http://127.0.0.1:${thief.port}/`,
    `http://localhost:${thief.port}/`,
    `https://127.0.0.1:${bound.port}/`,
    `//127.0.0.1:${thief.port}/x`,
    `http://127.0.0.1:${bound.port}@127.0.0.1:${thief.port}/`,
  ];
  const faults: string[] = [];
  let tried = 0;
  try {
    const host = await line.newHost();
    const db = line.db('acme');
    await storeSecret(db, line.keyRing, {
      name: 'bound',
      access: 'mutate',
      boundHost: `127.0.0.1:${bound.port}`,
      value: SECRET,
    });
    const envelope = await line.newRun('acme');
    const attempt = async (url: string, kind: (typeof KINDS)[number]): Promise<void> => {
      const before = heard.length;
      await putTool(db, `sec.${kind}`, declaration(kind, url));
      const answer = await host.call(envelope, `sec.${kind}`, argsOf(kind), { n: tried });
      if (answer.kind === 'ok') faults.push(`${kind} at ${url} answered ok`);
      for (const what of heard.slice(before)) faults.push(`${kind} at ${url}: ${what}`);
      tried += 1;
    };
    for (const to of elsewhere) {
      for (const kind of KINDS) {
        for (const status of STATUSES) {
          await attempt(`http://127.0.0.1:${bound.port}/r/${status}/${encodeURIComponent(to)}`, kind);
        }
        if (!to.startsWith('//') && !to.includes('@')) await attempt(to, kind);
      }
    }
    progress(`${tried} ways away from the bound host`);
    // without a redirect the credential arrives: what is refused above is refused for its destination
    await putTool(db, 'sec.http', declaration('http', `http://127.0.0.1:${bound.port}/`));
    const answer = await host.call(envelope, 'sec.http', argsOf('http'), { n: tried });
    if (answer.kind !== 'ok') faults.push(`the bound host itself: ${answer.kind}`);
    return zeroOf('requests or credentials away from the bound host', tried, faults);
  } finally {
    await Promise.all([thief.close(), bound.close()]);
    await line.close();
  }
};

const argsOf = (kind: (typeof KINDS)[number]): Json =>
  kind === 'model' ? { messages: [{ role: 'user', content: 'hello' }] } : {};

function declaration(kind: (typeof KINDS)[number], url: string): Json {
  const base = {
    description: 'x',
    effect: 'read',
    idempotency: 'natural',
    credential: { secret: 'bound', slot: { header: 'authorization', prefix: 'Bearer ' } },
  };
  const nothing = { type: 'object', properties: {}, additionalProperties: false };
  if (kind === 'mcp') return { ...base, adapter: 'mcp', server: { url }, tool: 'take', inputSchema: nothing };
  if (kind === 'http') return { ...base, adapter: 'http', method: 'GET', url, inputSchema: nothing };
  const inputSchema = {
    type: 'object',
    properties: { messages: { type: 'array', items: { type: 'object' } } },
    additionalProperties: false,
  };
  return { ...base, adapter: 'model', baseUrl: url.replace(/\/$/, ''), model: 'm', inputSchema };
}

async function serve(listener: (request: IncomingMessage, response: ServerResponse) => void) {
  const server: Server = createServer((request, response) => {
    request.resume();
    request.on('end', () => listener(request, response));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
