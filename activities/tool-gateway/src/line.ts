import type { TenantDoor } from '@bulkhead/prisma/tenant';
import { createEgress } from './adapters/egress.js';
import type { EgressOptions } from './adapters/egress.js';
import { createHttpAdapter } from './adapters/http.js';
import { createHttpTransport } from './adapters/http-transport.js';
import { createMcpLister } from './adapters/mcp-list.js';
import type { McpLister } from './adapters/mcp-list.js';
import { createMcpAdapter } from './adapters/mcp.js';
import { createMcpPool } from './adapters/mcp-pool.js';
import type { McpPoolOptions } from './adapters/mcp-pool.js';
import { createModelAdapter } from './adapters/model.js';
import type { Adapters } from './deps.js';
import { createMatcher } from './match.js';
import { createToolState as makeToolState } from './tool-state.js';
import type { ToolState } from './tool-state.js';
import type { Matcher } from './match.js';

export { createToolGateway } from './gateway.js';
export type { Adapters, GatewayContext, GatewayDeps, ToolGateway } from './deps.js';
export type { EgressOptions } from './adapters/egress.js';
export { createToolList } from './tool-list.js';
export type { ToolLister } from './tool-list.js';
export { createInFlight } from './in-flight.js';
export type { CallInFlight, InFlight, StoppedCall } from './in-flight.js';
export type { Matcher } from './match.js';
export { carryOutImports } from './import-orders.js';
export type { ImportPorts } from './import-orders.js';
export type { McpLister } from './adapters/mcp-list.js';
export type { McpPoolOptions, StdioServer } from './adapters/mcp-pool.js';

/**
 * The three adapters with the connections and children that they keep; `close` ends them all.
 * @throws BulkheadError WORKER_MISCONFIGURED for an entry of the allow-list that is none.
 */
export function createAdapters(options: { readonly mcp: McpPoolOptions; readonly egress: EgressOptions }): {
  readonly adapters: Adapters;
  /** Lists what a server offers, on the same connections. */
  readonly listMcp: McpLister;
  close(): Promise<void>;
} {
  const egress = createEgress(options.egress);
  const transport = createHttpTransport(egress);
  const pool = createMcpPool(options.mcp);
  return {
    adapters: {
      http: createHttpAdapter(transport),
      mcp: createMcpAdapter(pool, egress),
      model: createModelAdapter(transport),
    },
    listMcp: createMcpLister(pool, egress),
    async close() {
      transport.close();
      await pool.close();
    },
  };
}

/** Breakers and cooldowns of the tenants' tools, as this host sees and shares them. */
export const createToolState = (door: Pick<TenantDoor, 'tenant'>): ToolState => makeToolState({ door });

/** Finds tools and checks arguments, on the tenant's own declarations. */
export const createToolMatcher = (door: Pick<TenantDoor, 'tenant'>): Matcher => createMatcher({ door });
