import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { FetchLike, Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { ErrorCode, McpError } from '@modelcontextprotocol/sdk/types.js';
import { depthExceeds } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import type { McpTool } from '@bulkhead/contract/schemas';
import { ANSWER_DEPTH_MAX, credentialHeader, failed, refusal } from './adapter.js';
import type { Adapter, Ending, Invocation } from './adapter.js';
import { ForbiddenAddress } from './egress.js';
import type { Egress } from './egress.js';
import { createGuardedFetch, NotSent } from './guarded-fetch.js';
import { notSent } from './http.js';
import { offerOf } from './mcp-pin.js';
import { CLIENT_INFO } from './mcp-pool.js';
import type { McpPool } from './mcp-pool.js';

/** Everything that a server says before and beside the answer, per exchange. */
const LIST_BYTES_MAX = 2 * 1_048_576;
/** What a server may take to hear that a call or a session is over. */
const GOODBYE_MS = 1_000;
const TOO_LARGE = 'The answer of the tool is too large.';

/** Tools of MCP servers: a stdio child of the tenant's own, or a streamable HTTP server. */
export function createMcpAdapter(pool: McpPool, egress: Egress): Adapter<McpTool> {
  return async (invocation) => {
    const refused = refusal(invocation);
    if (refused) return refused;
    const { server } = invocation.spec;
    // true from the moment at which the call may have left: before it, an error is "not sent"
    const progress = { sent: false };
    const begin = (): boolean => {
      progress.sent = invocation.stillMine();
      return progress.sent;
    };
    try {
      if ('stdio' in server) {
        return await pool.use(invocation.tenantId, server.stdio, (client) => call(client, invocation, begin));
      }
      return await overHttp(egress, invocation, progress, begin);
    } catch (error) {
      return classifyMcpError(error, progress.sent);
    }
  };
}

/** A client for this one call: the credential lives in the lease and must not stay in a pooled connection. */
async function overHttp(
  egress: Egress,
  outer: Invocation<McpTool>,
  progress: { readonly sent: boolean },
  begin: () => boolean,
): Promise<Ending> {
  // The SDK swallows an error in the answer's stream and would wait for the rest until the call's timeout: a flood has
  // to end the call itself.
  const flood = new AbortController();
  const invocation = { ...outer, signal: AbortSignal.any([outer.signal, flood.signal]) };
  const { url, signal, mayBegin, spec } = invocation;
  if (!url) return { kind: 'not_sent', refusal: 'denied', message: 'The server has no destination.' };
  const { answerBytesMax } = spec;
  const place = { url, signal, mayBegin, answerBytesMax, headers: credentialHeader(invocation) };
  try {
    // the call begins when its own connection stands
    return await withHttpClient(egress, place, { begin, onFlood: () => flood.abort() }, (client) =>
      call(client, invocation, () => true),
    );
  } catch (error) {
    if (!flood.signal.aborted) throw error;
    return progress.sent
      ? failed(TOO_LARGE)
      : { kind: 'not_sent', refusal: 'unreachable', message: TOO_LARGE };
  }
}

/** Where a conversation goes, and what of ours goes with it. */
interface HttpPlace {
  readonly url: URL;
  /** Beside the protocol's own: the credential, or nothing. */
  readonly headers: Readonly<Record<string, string>>;
  readonly answerBytesMax: number;
  readonly signal: AbortSignal;
  readonly mayBegin: () => boolean;
}
interface HttpHooks {
  /** Asked right before the first byte of a call of a tool; false: it is not sent. */
  readonly begin: () => boolean;
  /** The server says more than it may. */
  readonly onFlood: () => void;
}

/** One conversation with a streamable HTTP server: connected, used, told goodbye. */
export async function withHttpClient<T>(
  egress: Egress,
  place: HttpPlace,
  hooks: HttpHooks,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const client = new Client(CLIENT_INFO);
  const goodbyes: Promise<unknown>[] = [];
  const transport = new StreamableHTTPClientTransport(place.url, {
    fetch: boundedFetch(egress, place, hooks, goodbyes),
    reconnectionOptions: {
      maxRetries: 0,
      initialReconnectionDelay: 1_000,
      maxReconnectionDelay: 1_000,
      reconnectionDelayGrowFactor: 1,
    },
  });
  try {
    // the SDK's class and its own interface differ under exactOptionalPropertyTypes (sessionId)
    await client.connect(transport as Transport, { signal: place.signal });
    return await work(client);
  } finally {
    // a call that was cancelled is told to the server before the connection goes; a session that ended as well
    await Promise.allSettled(goodbyes);
    const hasSession = transport.sessionId !== undefined && transport.protocolVersion !== undefined;
    await Promise.allSettled(hasSession ? [transport.terminateSession()] : []);
    await client.close();
  }
}

/**
 * No redirects, our credential only, bounded answers. The server gets no channel of its own to us: the stream that it
 * could push requests through is not opened, and what it asks for in an answer is refused by a client without abilities.
 */
function boundedFetch(
  egress: Egress,
  { headers: ours, answerBytesMax, signal, mayBegin }: HttpPlace,
  { begin, onFlood }: HttpHooks,
  goodbyes: Promise<unknown>[],
): FetchLike {
  const prepare = createGuardedFetch(egress, mayBegin);
  const send = createGuardedFetch(egress, begin);
  return async (input, init = {}) => {
    if (init.method === 'GET') return new Response(null, { status: 405 });
    const headers = new Headers(init.headers);
    for (const [name, value] of Object.entries(ours)) headers.set(name, value);
    const body = typeof init.body === 'string' ? init.body : '';
    const method = methodOf(body);
    const isCall = method === 'tools/call';
    if (init.method === 'DELETE' || method === 'notifications/cancelled') {
      const goodbye = prepare(input, { ...init, headers, signal: AbortSignal.timeout(GOODBYE_MS) });
      goodbyes.push(goodbye);
      return goodbye;
    }
    const signals = init.signal ? [signal, init.signal] : [signal];
    const fetch = isCall ? send : prepare;
    const response = await fetch(input, { ...init, headers, signal: AbortSignal.any(signals) });
    if (!response.body) return response;
    // JSON-RPC and event framing around the answer itself; a list of tools has a bound of its own
    let left = isCall ? answerBytesMax * 2 : LIST_BYTES_MAX;
    const bounded = response.body.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, controller) {
          left -= chunk.length;
          if (left >= 0) return controller.enqueue(chunk);
          onFlood();
          controller.error(new Error(TOO_LARGE));
        },
      }),
    );
    return new Response(bounded, response);
  };
}

/** Of the message itself: an agent's arguments may hold anything, also what looks like a message. */
function methodOf(body: string): unknown {
  if (body === '') return undefined;
  const message: unknown = JSON.parse(body);
  return typeof message === 'object' && message !== null && 'method' in message ? message.method : undefined;
}

async function call(client: Client, invocation: Invocation<McpTool>, begin: () => boolean): Promise<Ending> {
  // the child may have needed seconds to start: ask again whether we may still act
  const refused = refusal(invocation);
  if (refused) return refused;
  const { spec, args, signal } = invocation;
  const changed = await changeOf(client, invocation);
  if (changed) return changed;
  if (!begin()) return notSent('not_mine');
  const result = await client.callTool({ name: spec.tool, arguments: { ...args } }, undefined, {
    signal,
    timeout: spec.timeoutMs,
  });
  return classifyMcpResult(result, spec.answerBytesMax);
}

/**
 * Why the tool may not be called although it was declared: the server offers something else than was approved, or
 * nobody has approved what this server offers. A child of our own that the operator configured needs no pin.
 */
async function changeOf(client: Client, { spec, signal }: Invocation<McpTool>): Promise<Ending | undefined> {
  if (spec.pin === undefined && 'stdio' in spec.server) return undefined;
  const offer = await offerOf(client, spec.tool, signal);
  if (offer.pin !== null && offer.pin === spec.pin) return undefined;
  const message =
    spec.pin === undefined
      ? 'Nobody has approved what the MCP server offers under this name; an admin has to.'
      : 'The MCP server offers something else than was approved; the tool is off until an admin approves it.';
  return { kind: 'not_sent', refusal: 'denied', message, offer };
}

/** The one place where an MCP result gets its meaning. */
export function classifyMcpResult(result: Record<string, unknown>, answerBytesMax: number): Ending {
  if (depthExceeds(result, ANSWER_DEPTH_MAX)) return failed('The answer of the tool is nested too deeply.');
  if (Buffer.byteLength(JSON.stringify(result)) > answerBytesMax) {
    return failed(TOO_LARGE);
  }
  if (result['isError'] === true) return failed(`The tool failed: ${textOf(result)}`);
  const value = result['structuredContent'] ?? { content: result['content'] ?? [] };
  return { kind: 'answered', outcome: 'ok', value: value as Json };
}

/** The one place where an error of the MCP client gets its meaning. */
export function classifyMcpError(error: unknown, sent: boolean): Ending {
  // the request itself never left, however far the conversation had come
  if (error instanceof ForbiddenAddress) return notSent('forbidden_address');
  if (error instanceof NotSent) return notSent('not_mine');
  if (!sent) {
    return {
      kind: 'not_sent',
      refusal: 'unreachable',
      message: 'The MCP server cannot be reached.',
    };
  }
  // an error code of the protocol is an answer; a lost connection or a timeout is none
  const answered =
    error instanceof McpError &&
    error.code !== ErrorCode.ConnectionClosed &&
    error.code !== ErrorCode.RequestTimeout;
  if (answered) return failed(`The MCP server refused the call: ${error.message}`);
  return { kind: 'unknown', message: 'The MCP server gave no answer.' };
}

function textOf(result: Record<string, unknown>): string {
  const content: unknown[] = Array.isArray(result['content']) ? result['content'] : [];
  return content
    .flatMap((part) => (part instanceof Object && 'text' in part ? [String(part.text)] : []))
    .join(' ');
}
