import type { Json, TenantId } from '@bulkhead/contract';
import type { McpTool } from '@bulkhead/contract/schemas';
import type { Lease } from '@bulkhead/secret-broker/line';
import { createRedactor } from '../redact.js';
import { credentialHeader, refusal } from './adapter.js';
import type { Egress } from './egress.js';
import { withHttpClient } from './mcp.js';
import { listedTools } from './mcp-pin.js';
import type { ListedTool } from './mcp-pin.js';
import type { McpPool } from './mcp-pool.js';

/** How long a server may take to list what it has. */
const LIST_MS = 20_000;

/** What a server sees of ours, where it lists for known callers only. */
export interface ListCredential {
  readonly credential: NonNullable<McpTool['credential']>;
  readonly lease: Lease;
}

/**
 * Everything that a server offers, without the credential wherever it says it back.
 * @param shown undefined: nothing of the tenant's is shown to a server that nobody approved
 * @throws Error when it cannot be reached or does not list its tools within the bounds; CredentialRefused
 */
export type McpLister = (
  tenantId: TenantId,
  server: McpTool['server'],
  shown?: ListCredential,
) => Promise<readonly ListedTool[]>;

/** The credential may not go there; the message is for the admin who ordered the list. */
export class CredentialRefused extends Error {
  override readonly name = 'CredentialRefused';
}

/** Over the same guarded ways as calls. */
export function createMcpLister(pool: McpPool, egress: Egress): McpLister {
  return async (tenantId, server, shown) => {
    const signal = AbortSignal.timeout(LIST_MS);
    if ('stdio' in server) {
      if (shown) throw new CredentialRefused('A local server is shown no credential.');
      return pool.use(tenantId, server.stdio, (client) => listedTools(client, signal));
    }
    const flood = new AbortController();
    const ends = AbortSignal.any([signal, flood.signal]);
    const url = new URL(server.url);
    const place = {
      url,
      headers: shown ? headersOf(url, shown, signal) : {},
      answerBytesMax: 0,
      signal: ends,
      mayBegin: () => true,
    };
    const hooks = { begin: () => false, onFlood: () => flood.abort() };
    const listed = await withHttpClient(egress, place, hooks, (client) => listedTools(client, ends));
    return shown ? withoutEcho(shown.lease, listed) : listed;
  };
}

/** Its declared header, for its bound hosts only: what holds for a call of a tool holds here. */
function headersOf(
  url: URL,
  { credential, lease }: ListCredential,
  signal: AbortSignal,
): Record<string, string> {
  const refused = refusal({ spec: { credential }, lease, url, signal, mayBegin: () => true });
  if (refused) throw new CredentialRefused('message' in refused ? refused.message : refused.kind);
  return credentialHeader({ spec: { credential }, lease });
}

/** Before anything is kept or shown. What is pinned then is what a person can see; a server that echoes is never called. */
function withoutEcho(lease: Lease, listed: readonly ListedTool[]): readonly ListedTool[] {
  const redactor = createRedactor(lease.reveal());
  if (!redactor.suspects(JSON.stringify(listed))) return listed;
  return redactor.json(listed as unknown as Json) as unknown as readonly ListedTool[];
}
