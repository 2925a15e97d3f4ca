import { createServer } from 'node:http';
import type { RequestListener, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { agentId, tenantId as parseTenantId, workspaceId } from '@bulkhead/contract';
import type { Json, TenantId } from '@bulkhead/contract';
import { publishPolicy } from '@bulkhead/policy/admin';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import type { KeyRing } from '@bulkhead/runtime/keys';
import { storeSecret } from '@bulkhead/secret-broker/admin';
import { createTenant, putAgent } from '@bulkhead/tenancy/admin';
import { putTool } from '@bulkhead/tool-gateway/admin';
import { createHelpdesk } from '../../tools/src/demo/helpdesk.js';
import { SCRIPTED_MODEL, scriptedCompletion } from '../../tools/src/demo/scripted-model.js';
import { DEMO_AGENT, DEMO_TENANTS, demoTools } from '../../tools/src/demo/tenants.js';

/** The demo's helpdesk and scripted model, listening in this process. */
export interface DemoServices {
  readonly helpdeskKey: string;
  readonly endpoints: { helpdesk: string; model: string; modelName: string };
  /** Changes that the helpdesk made for acme, and requests to change. */
  effects(): Promise<{ effects: unknown[]; requests: number }>;
  close(): Promise<void>;
}

export async function startDemoServices(options: {
  delayMs: number;
  ignoreKeys?: boolean;
}): Promise<DemoServices> {
  const helpdeskKey = 'hd_test_5f2c9e7a1b';
  const desk = createHelpdesk({
    keys: { acme: helpdeskKey },
    ignoreKeys: options.ignoreKeys ?? false,
    delayMs: options.delayMs,
  });
  const helpdesk = await listen((request, response) => void desk(request, response));
  const model = await listen((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const asked = JSON.parse(Buffer.concat(chunks).toString()) as Parameters<typeof scriptedCompletion>[0];
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify(scriptedCompletion(asked)));
    });
  });
  return {
    helpdeskKey,
    endpoints: { helpdesk: urlOf(helpdesk), model: `${urlOf(model)}/v1`, modelName: SCRIPTED_MODEL },
    async effects() {
      const answer = await fetch(`${urlOf(helpdesk)}/effects`, {
        headers: { authorization: `Bearer ${helpdeskKey}` },
      });
      return (await answer.json()) as { effects: unknown[]; requests: number };
    },
    async close() {
      for (const server of [helpdesk, model]) {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
    },
  };
}

async function listen(handler: RequestListener): Promise<Server> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

const urlOf = (server: Server): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

/**
 * A tenant with the demo's tools and rules under a name of its own: test files share one Temporal server, and two
 * hosts on one tenant's queue would take each other's work.
 */
export async function makeDemoTenant(
  door: TenantDoor,
  keyRing: KeyRing,
  services: DemoServices,
  options: { like: 'acme' | 'globex'; change?: (toolId: string, spec: Json) => Json },
): Promise<TenantId> {
  const tenantId = parseTenantId(`${options.like}-${Math.random().toString(36).slice(2, 10)}`);
  const db = door.tenant(tenantId);
  await createTenant(db, keyRing, { name: options.like });
  for (const [name, access, url] of [
    ['helpdesk', 'mutate', services.endpoints.helpdesk],
    ['model', 'read', services.endpoints.model],
  ] as const) {
    await storeSecret(db, keyRing, {
      name,
      access,
      boundHost: new URL(url).host,
      value: services.helpdeskKey,
    });
  }
  for (const [id, spec] of Object.entries(demoTools(services.endpoints))) {
    await putTool(db, id, options.change?.(id, spec) ?? spec);
  }
  const document = DEMO_TENANTS.find(({ id }) => id === options.like)?.policy;
  if (document === undefined) throw new Error(`the demo has no tenant ${options.like}`);
  await publishPolicy(db, { profile: 'default', document, publishedBy: 'test', reason: 'test' });
  for (const [id, workflowType] of [
    ['support-triage', 'supportTriage'],
    ['long-chain', 'longChain'],
  ] as const) {
    await putAgent(db, {
      ...DEMO_AGENT,
      id: agentId(id),
      workflowType,
      workspaceId: workspaceId('main'),
      inputSchema: { type: 'object' },
    });
  }
  return tenantId;
}
