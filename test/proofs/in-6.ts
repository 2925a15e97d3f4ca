import { createServer } from 'node:http';
import type { RequestListener, Server } from 'node:http';
import { Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tenantId } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import { HttpToolSpec, McpToolSpec, ModelToolSpec } from '@bulkhead/contract/schemas';
import { createAdapters } from '@bulkhead/tool-gateway/line';
import type { Adapters } from '@bulkhead/tool-gateway/line';
import { resolveDestination } from '../../activities/tool-gateway/src/destination.js';
import { ssrfCorpus } from '../support/ssrf-corpus.js';
import type { SsrfCase } from '../support/ssrf-corpus.js';
import { zeroOf } from './proof.js';
import type { Proof } from './proof.js';

const base = { description: 'x', inputSchema: {}, effect: 'read', idempotency: 'none' } as const;
/** Every way in which a destination reaches an adapter. */
const WAYS = {
  'an argument': () => HttpToolSpec.parse({ ...base, adapter: 'http', method: 'GET', urlArgument: 'url' }),
  'a declared tool': (url: string) => HttpToolSpec.parse({ ...base, adapter: 'http', method: 'POST', url }),
  'an MCP server': (url: string) =>
    McpToolSpec.parse({ ...base, adapter: 'mcp', server: { url }, tool: 't' }),
  'a model': (url: string) => ModelToolSpec.parse({ ...base, adapter: 'model', baseUrl: url, model: 'm' }),
} as const;

/**
 * Each destination of the corpus through each adapter, written as such, behind a name, behind a redirect, and by a
 * name whose answer changes between two look-ups. Counted are attempts to connect, below every library: at the socket.
 */
export const run: Proof = async ({ size, progress }) => {
  const sockets = watchSockets();
  const canary = await serve((_, response) => response.end('{}'));
  const redirects = await serve((request, response) => {
    const { searchParams } = new URL(request.url ?? '/', 'http://x');
    // in bytes, as a server that does not care sends what is not ASCII
    const location = Buffer.from(searchParams.get('to') ?? '', 'utf8').toString('latin1');
    response.writeHead(Number(searchParams.get('status')), { location }).end();
  });
  const names = new Map<string, readonly (readonly string[])[]>();
  const { adapters, close } = createAdapters({
    mcp: { servers: {}, dataDir: '/nonexistent', path: '' },
    egress: { allow: [`redirector.example:${redirects.port}`], resolve: resolverOf(names) },
  });
  names.set('redirector.example', [['127.0.0.1']]);
  const faults: string[] = [];
  let tried = 0;
  const attempt = async (url: string, way: keyof typeof WAYS, label = url): Promise<void> => {
    sockets.splice(0);
    const ended = await send(adapters, url, way);
    const seen = sockets.filter((at) => at !== `127.0.0.1:${redirects.port}` && !at.startsWith('1.1.1.1:'));
    if (seen.length > 0) faults.push(`${label} by ${way}: connected to ${seen.join(', ')} (${ended})`);
    tried += 1;
  };
  try {
    await plant(canary.port, sockets);
    const corpus = ssrfCorpus(canary.port);
    for (const entry of corpus) {
      for (const way of Object.keys(WAYS) as (keyof typeof WAYS)[]) {
        learn(names, entry);
        await attempt(entry.url, way);
      }
    }
    progress(`${corpus.length} destinations, ${tried} attempts`);
    const statuses = { tiny: [307], ci: [302, 307], full: [301, 302, 303, 307, 308] }[size];
    for (const entry of corpus) {
      for (const status of statuses) {
        learn(names, entry);
        const to = encodeURIComponent(entry.url);
        const url = `http://redirector.example:${redirects.port}/?status=${status}&to=${to}`;
        for (const way of ['a declared tool', 'an MCP server', 'a model'] as const) {
          await attempt(url, way, `redirect ${status} to ${entry.url}`);
        }
      }
    }
    progress(`redirects: ${tried} attempts`);
    await rebind(names, canary.port, attempt);
    if (canary.requests > 1) faults.push(`the canary was asked ${canary.requests - 1} times`);
    return zeroOf('connections to a forbidden address', tried, faults);
  } finally {
    sockets.stop();
    await close();
    await Promise.all([canary.close(), redirects.close()]);
  }
};

/** The name is public when it is judged first, and ours a moment later, and again. */
async function rebind(
  names: Map<string, readonly (readonly string[])[]>,
  port: number,
  attempt: (url: string, way: keyof typeof WAYS) => Promise<void>,
): Promise<void> {
  for (const [index, address] of ['127.0.0.1', '169.254.169.254', '::1', '10.0.0.1'].entries()) {
    const name = `flip${index}.rebind.example`;
    for (const way of Object.keys(WAYS) as (keyof typeof WAYS)[]) {
      names.set(name, [['1.1.1.1'], [address], ['1.1.1.1'], [address]]);
      await attempt(`http://${name}:${port}/`, way);
      await attempt(`http://${name}:${port}/`, way);
    }
  }
}

/** Nothing waits for an address that is not there longer than this. */
const PATIENCE_MS = 60;

async function send(adapters: Adapters, url: string, way: keyof typeof WAYS): Promise<string> {
  const args: { [name: string]: Json } = way === 'an argument' ? { url } : {};
  let spec: ReturnType<(typeof WAYS)[typeof way]>;
  try {
    spec = WAYS[way](url);
    const destination = resolveDestination(spec, args);
    if ('field' in destination) return 'no destination';
    const invocation = {
      tenantId: tenantId('acme'),
      args,
      url: destination.url,
      idempotencyKey: 'bh-1',
      lease: undefined,
      signal: AbortSignal.timeout(PATIENCE_MS),
      mayBegin: () => true,
      stillMine: () => true,
    };
    if (spec.adapter === 'http') return (await adapters.http({ ...invocation, spec })).kind;
    if (spec.adapter === 'mcp') return (await adapters.mcp({ ...invocation, spec })).kind;
    return (await adapters.model({ ...invocation, spec })).kind;
  } catch {
    return 'no URL';
  }
}

function learn(names: Map<string, readonly (readonly string[])[]>, { url, answers }: SsrfCase): void {
  const host = URL.parse(url)?.hostname;
  if (host !== undefined && answers.length > 0) names.set(host, answers);
}

type Resolve = NonNullable<Parameters<typeof createAdapters>[0]['egress']['resolve']>;

/** A name server that is told what to answer, look-up by look-up. */
function resolverOf(names: Map<string, readonly (readonly string[])[]>): Resolve {
  return (hostname, _, callback) => {
    const [now = [], ...later] = names.get(hostname) ?? [];
    if (later.length > 0) names.set(hostname, later);
    const error = now.length === 0 ? Object.assign(new Error('not found'), { code: 'ENOTFOUND' }) : null;
    setImmediate(() =>
      callback(
        error,
        now.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      ),
    );
  };
}

/** Where sockets of this process try to connect to, as `address:port`, whoever made them. */
function watchSockets(): string[] & { stop: () => void } {
  const seen: string[] = [];
  const { connect } = Socket.prototype;
  Socket.prototype.connect = function watched(this: Socket, ...args: unknown[]) {
    this.on('connectionAttempt', (address: string, port: number) => seen.push(`${address}:${port}`));
    return Reflect.apply(connect, this, args);
  } as typeof connect;
  return Object.assign(seen, {
    stop: () => {
      Socket.prototype.connect = connect;
    },
  });
}

/** The watch sees what connects: without this, "0 connections" would prove nothing. */
async function plant(port: number, sockets: string[]): Promise<void> {
  const { adapters, close } = createAdapters({
    mcp: { servers: {}, dataDir: '/nonexistent', path: '' },
    egress: { allow: ['127.0.0.0/8'] },
  });
  await send(adapters, `http://127.0.0.1:${port}/`, 'a declared tool');
  await close();
  if (!sockets.includes(`127.0.0.1:${port}`)) throw new Error('the watch missed a planted connection');
}

async function serve(listener: RequestListener) {
  let requests = 0;
  const server: Server = createServer((request, response) => {
    requests += 1;
    listener(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    get requests() {
      return requests;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
