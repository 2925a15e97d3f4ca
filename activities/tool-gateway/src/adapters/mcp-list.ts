import type { TenantId } from '@bulkhead/contract';
import type { McpTool } from '@bulkhead/contract/schemas';
import type { Egress } from './egress.js';
import { withHttpClient } from './mcp.js';
import { listedTools } from './mcp-pin.js';
import type { ListedTool } from './mcp-pin.js';
import type { McpPool } from './mcp-pool.js';

/** How long a server may take to list what it has. */
const LIST_MS = 20_000;

/** Everything that a server offers. @throws Error when it cannot be reached or does not list its tools within the bounds. */
export type McpLister = (tenantId: TenantId, server: McpTool['server']) => Promise<readonly ListedTool[]>;

/** Over the same guarded ways as calls, without a credential: nothing of the tenant's is shown to a server nobody approved. */
export function createMcpLister(pool: McpPool, egress: Egress): McpLister {
  return async (tenantId, server) => {
    const signal = AbortSignal.timeout(LIST_MS);
    if ('stdio' in server) {
      return pool.use(tenantId, server.stdio, (client) => listedTools(client, signal));
    }
    const flood = new AbortController();
    const ends = AbortSignal.any([signal, flood.signal]);
    const place = {
      url: new URL(server.url),
      headers: {},
      answerBytesMax: 0,
      signal: ends,
      mayBegin: () => true,
    };
    return withHttpClient(egress, place, { begin: () => false, onFlood: () => flood.abort() }, (client) =>
      listedTools(client, ends),
    );
  };
}
