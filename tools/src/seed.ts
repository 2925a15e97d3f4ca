import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { agentId, canonicalJson, tenantId, workspaceId } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import { currentPolicy, publishPolicy } from '@bulkhead/policy/admin';
import { openTenantDoor, tenantKeys } from '@bulkhead/prisma/tenant';
import type { TenantDb } from '@bulkhead/prisma/tenant';
import { createKeyRing } from '@bulkhead/runtime/keys';
import type { KeyRing } from '@bulkhead/runtime/keys';
import { listSecrets, storeSecret } from '@bulkhead/secret-broker/admin';
import { createApiKey, createTenant, putAgent } from '@bulkhead/tenancy/admin';
import { putTool } from '@bulkhead/tool-gateway/admin';
import { DEMO_AGENT, DEMO_TENANTS, demoTools } from './demo/tenants.js';
import type { DemoEndpoints } from './demo/tenants.js';
import { writePrivate } from './keys.js';

/** The demo's API keys: `operator` starts runs, `admin` approves them. */
export type DemoApiKeys = Record<string, { operator: string; admin: string }>;

/** Keys that the demo's own services accept, per tenant: the secrets that Bulkhead must keep. */
export interface DemoServiceKeys {
  readonly helpdesk: Record<string, string>;
  readonly model: Record<string, string>;
}

export interface SeedOptions {
  readonly appUrl: string;
  readonly masterKeyPath: string;
  readonly endpoints: DemoEndpoints;
  readonly serviceKeys: DemoServiceKeys;
  /** 0600 file that keeps the API keys, because the database holds only their hashes. */
  readonly apiKeysFile: string;
}

/** Writes the two demo tenants through the capabilities, as an admin would. What is there already is not written again. */
export async function seed(options: SeedOptions): Promise<DemoApiKeys> {
  const door = openTenantDoor({ url: options.appUrl, poolMax: 4, onError: () => undefined }); // a broken call throws itself
  const keyRing = createKeyRing({ masterKeyPath: options.masterKeyPath, loadTenantKey: tenantKeys(door) });
  const apiKeys = await readJson<DemoApiKeys>(options.apiKeysFile, {});
  try {
    for (const tenant of DEMO_TENANTS) {
      const db = door.tenant(tenantId(tenant.id));
      await createTenant(db, keyRing, { name: tenant.name });
      await seedTools(db, keyRing, options, tenant.id);
      await publishIfChanged(db, tenant.policy);
      await putAgent(db, { ...DEMO_AGENT, id: agentId(DEMO_AGENT.id), workspaceId: workspaceId('main') });
      apiKeys[tenant.id] ??= {
        operator: (await createApiKey(db, { name: 'demo operator', role: 'operator' })).key,
        admin: (await createApiKey(db, { name: 'demo admin', role: 'admin' })).key,
      };
      await writePrivate(options.apiKeysFile, `${JSON.stringify(apiKeys, null, 2)}\n`);
    }
  } finally {
    await door.close();
  }
  return apiKeys;
}

async function seedTools(
  db: TenantDb,
  keyRing: KeyRing,
  options: SeedOptions,
  tenant: string,
): Promise<void> {
  const { endpoints, serviceKeys } = options;
  const have = await listSecrets(db);
  for (const [name, access, url, value] of [
    ['helpdesk', 'mutate', endpoints.helpdesk, serviceKeys.helpdesk[tenant]],
    ['model', 'read', endpoints.model, serviceKeys.model[tenant]],
  ] as const) {
    if (value === undefined) throw new Error(`no ${name} key for ${tenant}`);
    const boundHost = new URL(url).host;
    const stored = have.some(
      (secret) => secret.name === name && secret.boundHosts.includes(boundHost) && secret.state === 'active',
    );
    if (!stored) await storeSecret(db, keyRing, { name, access, boundHost, value });
  }
  for (const [id, spec] of Object.entries(demoTools(endpoints))) await putTool(db, id, spec);
}

async function publishIfChanged(db: TenantDb, document: Json): Promise<void> {
  const current = await currentPolicy(db, 'default');
  if (current && canonicalJson(current.document as unknown as Json) === canonicalJson(document)) return;
  await publishPolicy(db, {
    profile: 'default',
    document,
    publishedBy: 'demo',
    reason: 'Rules of the demo.',
  });
}

/** Makes the demo services' keys once and keeps them in a 0600 file; the file is also those services' configuration. */
export async function demoServiceKeys(
  folder: string,
  modelKey: string | undefined,
): Promise<DemoServiceKeys & { files: { helpdesk: string; model: string } }> {
  const make = async (
    name: string,
    prefix: string,
  ): Promise<{ file: string; keys: Record<string, string> }> => {
    const file = join(folder, `${name}.json`);
    const { keys } = await readJson<{ keys: Record<string, string> }>(file, { keys: {} });
    for (const { id } of DEMO_TENANTS)
      keys[id] ??= `${prefix}_${id}_${randomBytes(18).toString('base64url')}`;
    await writePrivate(file, `${JSON.stringify({ keys }, null, 2)}\n`);
    return { file, keys };
  };
  const helpdesk = await make('helpdesk', 'hd');
  const scripted = await make('scripted-model', 'sm');
  const model =
    modelKey === undefined ? scripted.keys : Object.fromEntries(DEMO_TENANTS.map(({ id }) => [id, modelKey]));
  return { helpdesk: helpdesk.keys, model, files: { helpdesk: helpdesk.file, model: scripted.file } };
}

async function readJson<T>(file: string, missing: T): Promise<T> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return missing;
    throw error;
  }
}
