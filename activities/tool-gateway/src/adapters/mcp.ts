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
import { createGuardedFetch } from './guarded-fetch.js';
import { notSent } from './http.js';
import { CLIENT_INFO } from './mcp-pool.js';
import type { McpPool } from './mcp-pool.js';

const TOO_LARGE = 'The answer of the tool is too large.';

/** Tools of MCP servers: a stdio child of the tenant's own, or a streamable HTTP server. */
export function createMcpAdapter(pool: McpPool, egress: Egress): Adapter<McpTool> {
  return async (invocation) => {
    const refused = refusal(invocation);
    if (refused) return refused;
    const { server } = invocation.spec;
    // true from the moment at which the request may have left: before it, an error is "not sent"
    const progress = { sent: false };
    try {
      if ('stdio' in server) {
        return await pool.use(invocation.tenantId, server.stdio, (client) =>
          call(client, invocation, progress),
        );
      }
      return await overHttp(egress, invocation, progress);
    } catch (error) {
      return classifyMcpError(error, progress.sent);
    }
  };
}

/** A client for this one call: the credential lives in the lease and must not stay in a pooled connection. */
async function overHttp(
  egress: Egress,
  outer: Invocation<McpTool>,
  progress: { sent: boolean },
): Promise<Ending> {
  // The SDK swallows an error in the answer's stream and would wait for the rest until the call's timeout: a flood has
  // to end the call itself.
  const flood = new AbortController();
  const invocation = { ...outer, signal: AbortSignal.any([outer.signal, flood.signal]) };
  const { url, signal } = invocation;
  if (!url) return { kind: 'not_sent', refusal: 'denied', message: 'The server has no destination.' };
  const client = new Client(CLIENT_INFO);
  const transport = new StreamableHTTPClientTransport(url, {
    fetch: boundedFetch(egress, invocation, () => flood.abort()),
    reconnectionOptions: {
      maxRetries: 0,
      initialReconnectionDelay: 1_000,
      maxReconnectionDelay: 1_000,
      reconnectionDelayGrowFactor: 1,
    },
  });
  try {
    // the SDK's class and its own interface differ under exactOptionalPropertyTypes (sessionId)
    await client.connect(transport as Transport, { signal });
    return await call(client, invocation, progress);
  } catch (error) {
    if (flood.signal.aborted) return failed(TOO_LARGE);
    throw error;
  } finally {
    await client.close();
  }
}

/** No redirects, our credential only, and a bounded answer. */
function boundedFetch(egress: Egress, invocation: Invocation<McpTool>, onFlood: () => void): FetchLike {
  const { spec, signal, stillMine } = invocation;
  const guarded = createGuardedFetch(egress, stillMine);
  return async (input, init) => {
    const headers = new Headers(init?.headers);
    for (const [name, value] of Object.entries(credentialHeader(invocation))) headers.set(name, value);
    const signals = init?.signal ? [signal, init.signal] : [signal];
    const response = await guarded(input, {
      ...init,
      headers,
      signal: AbortSignal.any(signals),
    });
    if (!response.body) return response;
    let left = spec.answerBytesMax * 2; // JSON-RPC and event framing around the answer itself
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

async function call(
  client: Client,
  invocation: Invocation<McpTool>,
  progress: { sent: boolean },
): Promise<Ending> {
  // the child may have needed seconds to start: ask again whether we may still act
  const refused = refusal(invocation);
  if (refused) return refused;
  const { spec, args, signal } = invocation;
  progress.sent = true;
  const result = await client.callTool({ name: spec.tool, arguments: { ...args } }, undefined, {
    signal,
    timeout: spec.timeoutMs,
  });
  return classifyMcpResult(result, spec.answerBytesMax);
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
  if (!sent) {
    return {
      kind: 'not_sent',
      refusal: 'provider_unavailable',
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
