import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from 'graphql-ws';
import { pino } from 'pino';
import { inject } from 'vitest';
import { composeApi, createApi } from '@bulkhead/api/app';
import type { ApiDeps } from '@bulkhead/api/app';
import { agentId, tenantId, workspaceId } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import type { IssuerConfig } from '@bulkhead/runtime/config';
import type { KeyRing } from '@bulkhead/runtime/keys';
import { createTokenWriter } from '@bulkhead/runtime/tokens';
import { createApiKey, createTenant, putAgent } from '@bulkhead/tenancy/admin';
import type { Role } from '@bulkhead/tenancy/admin';
import { freshDatabase } from './database.js';
import type { TestDatabase } from './database.js';

/** Answer of one GraphQL request, as it came over HTTP. */
export interface Answer {
  readonly status: number;
  readonly data: Record<string, unknown> | null;
  readonly errors:
    readonly { message: string; extensions: { code: string; field?: string; id?: string } }[] | undefined;
}

/** The API over a real database, listening, with two tenants. Real: database, doors, keys, HTTP, websockets. */
export interface TestApi {
  readonly url: string;
  readonly database: TestDatabase;
  readonly deps: ApiDeps;
  readonly keyRing: KeyRing;
  readonly app: Awaited<ReturnType<typeof createApi>>;
  /** Everything logged so far. */
  readonly logs: string[];
  /** A new API key of a tenant. */
  key(tenant: TenantId, role: Role): Promise<string>;
  /** `tenant` is the header x-bulkhead-tenant. */
  ask(
    key: string | undefined,
    query: string,
    variables?: Record<string, unknown>,
    tenant?: string,
  ): Promise<Answer>;
  /** Events of a subscription until it completes, fails or `count` arrived. */
  subscribe(
    key: string | undefined,
    query: string,
    variables: Record<string, unknown>,
  ): AsyncIterableIterator<unknown>;
  close(): Promise<void>;
}

/** Milliseconds in which a subscription that is refused says so; one that is open may have nothing to tell. */
const QUIET_MS = 1_000;

/** The first event of a subscription, undefined when nothing comes; throws what refuses it. */
export async function firstEvent(events: AsyncIterableIterator<unknown>): Promise<unknown> {
  try {
    const quiet = sleep(QUIET_MS, undefined, { ref: false });
    return await Promise.race([events.next(), quiet]);
  } finally {
    await events.return?.();
  }
}

export const ACME = tenantId('acme');
export const GLOBEX = tenantId('globex');
export const AGENT = agentId('support-triage');

/** Token that the tests' Temporal UI must see for a tenant. */
export const readTokenOf = (tenant: string): string => `read-token-of-${tenant}`;

export interface ApiOptions {
  readonly uiAddress?: string;
  /** GraphiQL and introspection, on unless told; a production installation has neither. */
  readonly development?: boolean;
  /** Whose tokens people may sign in with; nobody's unless given. */
  readonly issuers?: readonly IssuerConfig[];
  readonly requestSeconds?: number;
  readonly subscriptions?: { readonly perTenant: number; readonly perCaller: number };
  readonly refusalsPerMinute?: number;
  readonly decodesPerMinute?: number;
  /** File with the only documents that are answered. */
  readonly documents?: string;
  /** Tokens for Temporal; names that can be recognised unless given. */
  readonly readToken?: (whose: TenantId | 'system') => string;
}

export async function startApi(options: ApiOptions = {}): Promise<TestApi> {
  const { keys } = inject('servers');
  const database = await freshDatabase();
  const folder = await mkdtemp(join(tmpdir(), 'bulkhead-api-'));
  const tokensDir = join(folder, 'tokens');
  const tokens = createTokenWriter({ dir: tokensDir });
  const tokenOf = options.readToken ?? readTokenOf;
  for (const tenant of [ACME, GLOBEX]) await tokens.tenant(tenant, 'read', tokenOf(tenant));
  await tokens.system('read', tokenOf('system'));
  const logs: string[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => logs.push(line) });
  const composed = composeApi(
    {
      role: 'api',
      database: { url: database.appUrl, controlUrl: database.controlUrl, poolMax: 8 },
      temporal: {
        address: '127.0.0.1:1',
        enforcesTokens: true,
        tokensDir,
        ...(options.uiAddress === undefined ? {} : { uiAddress: options.uiAddress }),
      },
      keys: { master: keys.master, envelopeSigning: keys.envelopeSigning },
      api: {
        host: '127.0.0.1',
        port: 0,
        graphiql: options.development ?? true,
        introspection: options.development ?? true,
        requestSeconds: options.requestSeconds ?? 10,
        subscriptionsPerTenant: options.subscriptions?.perTenant ?? 200,
        subscriptionsPerCaller: options.subscriptions?.perCaller ?? 50,
        // tests refuse far more than people do
        refusalsPerMinute: options.refusalsPerMinute ?? 1_000_000,
        decodesPerMinute: options.decodesPerMinute ?? 300,
        ...(options.documents === undefined ? {} : { documents: options.documents }),
        publicUrl: 'http://bulkhead.test',
        issuers: [...(options.issuers ?? [])],
      },
      log: { level: 'debug' },
    },
    log,
  );
  const { deps, keyRing } = composed;
  for (const tenant of [ACME, GLOBEX]) await seed(deps, tenant, keyRing);
  const app = await createApi(deps);
  await app.listen(0, '127.0.0.1');
  const url = await app.getUrl();
  return {
    url,
    database,
    deps,
    keyRing,
    app,
    logs,
    key: async (tenant, role) =>
      (await createApiKey(deps.door.tenant(tenant), { name: `${role} key`, role })).key,
    ask: (key, query, variables = {}, tenant = undefined) =>
      ask(url, key, JSON.stringify({ query, variables }), tenant),
    subscribe: (key, query, variables) => subscribe(url, key, query, variables),
    async close() {
      await app.close();
      await composed.close();
      await database.drop();
      await rm(folder, { recursive: true });
    },
  };
}

async function seed(deps: ApiDeps, tenant: TenantId, keyRing: KeyRing): Promise<void> {
  const db = deps.door.tenant(tenant);
  await createTenant(db, keyRing, { name: `${tenant} Inc.` });
  await putAgent(db, {
    id: AGENT,
    workspaceId: workspaceId('main'),
    name: 'Support triage',
    description: 'Answers a ticket.',
    workflowType: 'supportTriage',
    inputSchema: {
      type: 'object',
      properties: { ticketId: { type: 'string', maxLength: 100_000 } },
      required: ['ticketId'],
      additionalProperties: false,
    },
  });
}

/** One field of an answer that must have data. */
export function field<T>(answer: Answer, name: string): T {
  if (!answer.data) throw new Error(`no data: ${JSON.stringify(answer.errors)}`);
  return answer.data[name] as T;
}

/** Posts a body as it is, well formed or not. */
export async function ask(
  url: string,
  key: string | undefined,
  body: string,
  tenant?: string,
): Promise<Answer> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...(tenant === undefined ? {} : { 'x-bulkhead-tenant': tenant }),
    },
    body,
  });
  const answer = (await response.json()) as Pick<Answer, 'data' | 'errors'>;
  return { status: response.status, data: answer.data ?? null, errors: answer.errors };
}

function subscribe(
  url: string,
  key: string | undefined,
  query: string,
  variables: Record<string, unknown>,
): AsyncIterableIterator<unknown> {
  const client = createClient({
    url: `${url.replace('http', 'ws')}/graphql`,
    retryAttempts: 0,
    ...(key === undefined ? {} : { connectionParams: { authorization: `Bearer ${key}` } }),
  });
  return client.iterate({ query, variables });
}
