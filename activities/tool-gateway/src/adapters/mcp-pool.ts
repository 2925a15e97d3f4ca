import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import type { TenantId } from '@bulkhead/contract';

/** A stdio server as the host configuration names it. It is code on our machine, so it never comes from tenant data. */
export interface StdioServer {
  readonly command: string;
  readonly args: readonly string[];
  /** Environment variable that names the data file of the tenant's own child. */
  readonly dataFileEnv?: string | undefined;
}

export interface McpPoolOptions {
  readonly servers: Readonly<Record<string, StdioServer>>;
  /** Data files are `<dataDir>/mcp/<tenant>/<server>.json`. */
  readonly dataDir: string;
  /** The only variable that a child inherits. */
  readonly path: string;
  /** Children at most; the one that was idle longest makes room. */
  readonly childrenMax?: number;
}

export interface McpPool {
  /**
   * The tenant's own running child of that server; started when there is none or the last one has died.
   * @throws Error when the host knows no such server or it does not start.
   */
  use<T>(tenantId: TenantId, server: string, work: (client: Client) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

interface Child {
  readonly client: Promise<Client>;
  busy: number;
}

export const CLIENT_INFO = { name: 'bulkhead', version: '0.1.0' } as const;
/** One message of a server; more is a broken server, which is ended. */
const MESSAGE_BYTES_MAX = 4 * 1_048_576;
const START_MS = 15_000;

/** One child per tenant and server: two tenants in one child would share its memory and its data file. */
export function createMcpPool(options: McpPoolOptions): McpPool {
  const children = new Map<string, Child>();
  const childrenMax = options.childrenMax ?? 64;

  const start = async (tenantId: TenantId, server: string, gone: () => void): Promise<Client> => {
    const spec = Object.hasOwn(options.servers, server) ? options.servers[server] : undefined;
    if (!spec) throw new Error(`this host knows no MCP server ${server}`);
    const client = new Client(CLIENT_INFO);
    // oxlint-disable-next-line unicorn/prefer-add-event-listener -- the SDK's client is no EventTarget
    client.onclose = gone;
    // a stream that breaks its limits is not trusted any further
    // oxlint-disable-next-line unicorn/prefer-add-event-listener -- as above
    client.onerror = () => void client.close();
    await client.connect(new StdioClientTransport(await launch(options, spec, tenantId, server)), {
      timeout: START_MS,
    });
    return client;
  };

  const childOf = (tenantId: TenantId, server: string): Child => {
    const slot = JSON.stringify([tenantId, server]);
    const known = children.get(slot);
    if (known) {
      // the map's order is the order of last use
      children.delete(slot);
      children.set(slot, known);
      return known;
    }
    const forget = (): void => {
      if (children.get(slot) === child) children.delete(slot);
    };
    const client = start(tenantId, server, () => forget());
    const child: Child = { client, busy: 0 };
    client.catch(forget); // whoever waits for it gets the error; the next call starts another one
    children.set(slot, child);
    return child;
  };

  return {
    async use(tenantId, server, work) {
      const child = childOf(tenantId, server);
      child.busy += 1;
      evictIdle(children, childrenMax);
      try {
        return await work(await child.client);
      } finally {
        child.busy -= 1;
      }
    },
    async close() {
      const all = [...children.values()];
      children.clear();
      await Promise.allSettled(all.map(async (child) => (await child.client).close()));
    },
  };
}

function evictIdle(children: Map<string, Child>, max: number): void {
  for (const [slot, child] of children) {
    if (children.size <= max) return;
    if (child.busy > 0) continue;
    children.delete(slot);
    void child.client.then((client) => client.close());
  }
}

/** `env -i`: the SDK would add HOME, USER and more of ours to the child's environment. */
async function launch(
  options: McpPoolOptions,
  spec: StdioServer,
  tenantId: TenantId,
  server: string,
): Promise<ConstructorParameters<typeof StdioClientTransport>[0]> {
  const dataFile = join(options.dataDir, 'mcp', tenantId, `${server}.json`);
  const folder = dirname(dataFile);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const variables = [
    `PATH=${options.path}`,
    ...(spec.dataFileEnv === undefined ? [] : [`${spec.dataFileEnv}=${dataFile}`]),
  ];
  return {
    command: '/usr/bin/env',
    args: ['-i', ...variables, spec.command, ...spec.args],
    cwd: folder,
    stderr: 'ignore',
    maxBufferSize: MESSAGE_BYTES_MAX,
  };
}
