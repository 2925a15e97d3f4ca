import { performance } from 'node:perf_hooks';
import { BulkheadError, buildGrantId, TenantCache } from '@bulkhead/contract';
import type { Envelope, GrantAnswer, GrantId, GrantRequest, TenantId } from '@bulkhead/contract';
import { ToolSpecSchema } from '@bulkhead/contract/schemas';
import type { ToolSpec } from '@bulkhead/contract/schemas';
import type { Admission } from '@bulkhead/journal/line';
import type { TenantClient, TenantDb, TenantDoor } from '@bulkhead/prisma/tenant';
import type { KeyRing } from '@bulkhead/runtime/keys';
import { openSecret } from './crypto.js';
import type { SealedSecret } from './crypto.js';
import { Lease } from './lease.js';

export type { Lease } from './lease.js';

export interface SecretBrokerDeps {
  readonly door: Pick<TenantDoor, 'tenant'>;
  readonly keyRing: Pick<KeyRing, 'open'>;
  /** A fresh ULID, lower case. */
  readonly newUlid: () => string;
  /** Monotonic milliseconds; the default is the process clock. */
  readonly nowMs?: () => number;
}

export interface SecretBroker {
  /** Which credential may this run use for this tool: a grant, none needed, or a refusal. */
  secretBroker(envelope: Envelope, request: GrantRequest): Promise<GrantAnswer>;
  /**
   * The credential that admit has just confirmed, for one request. undefined: the tool uses none.
   * @throws BulkheadError SECRET_UNAVAILABLE when it cannot be opened.
   */
  lease(admission: Admission): Promise<Lease | undefined>;
}

interface StoredSecret extends SealedSecret {
  readonly boundHost: string;
}

/** Ciphertext only, and only briefly: admit has checked revocation, and shredding must bite soon. */
const CACHE_MS = 30_000;
const CACHE_MAX = 1_000;

export function createSecretBroker(deps: SecretBrokerDeps): SecretBroker {
  const nowMs = deps.nowMs ?? (() => performance.now());
  const cache = new TenantCache<StoredSecret>({ max: CACHE_MAX, freshMs: CACHE_MS, nowMs });

  const read = async (tenantId: TenantId, name: string, version: number): Promise<StoredSecret> => {
    const known = cache.get(tenantId, [name, version]);
    if (known?.fresh) return known.value;
    cache.delete(tenantId, [name, version]);
    const stored = await deps.door.tenant(tenantId).run((tx) => storedSecret(tx, tenantId, name, version));
    cache.set(tenantId, [name, version], stored);
    return stored;
  };

  return {
    secretBroker: async (envelope, { toolId }) => {
      const db = deps.door.tenant(envelope.tenantId);
      const answer = await db.run((tx) => grant(tx, envelope, toolId, deps.newUlid));
      if (answer.kind === 'denied') await recordRefusal(db, envelope, toolId, answer.reason.message);
      return answer;
    },
    async lease(admission) {
      if (!admission.secret) return undefined;
      const { tenantId } = admission;
      const { name, version } = admission.secret;
      const stored = await read(tenantId, name, version);
      return new Lease(await openSecret(deps.keyRing, { tenantId, name, version }, stored), stored.boundHost);
    },
  };
}

async function storedSecret(
  tx: TenantClient,
  tenantId: TenantId,
  name: string,
  version: number,
): Promise<StoredSecret> {
  const secret = await tx.secret.findUnique({ where: { tenantId_name: { tenantId, name } } });
  const row = await tx.secretVersion.findUnique({
    where: { tenantId_name_version: { tenantId, name, version } },
  });
  if (!secret || row?.state !== 'active') {
    throw new BulkheadError('SECRET_UNAVAILABLE', { internal: `secret ${name} v${version} is not active` });
  }
  return { boundHost: secret.boundHost, wrappedKey: row.wrappedKey, ciphertext: row.ciphertext };
}

/** A tool that does not exist or is off needs no credential: the gateway refuses the call itself and records it. */
async function grant(
  tx: TenantClient,
  envelope: Envelope,
  toolId: string,
  newUlid: () => string,
): Promise<GrantAnswer> {
  const { tenantId, runId } = envelope;
  const tool = await tx.tool.findUnique({ where: { tenantId_id: { tenantId, id: toolId } } });
  const spec = tool?.enabled ? ToolSpecSchema.safeParse(tool.spec).data : undefined;
  if (!spec?.credential) return { kind: 'none' };
  const name = spec.credential.secret;
  const access = accessOf(spec);
  const secret = await tx.secret.findUnique({ where: { tenantId_name: { tenantId, name } } });
  if (!secret) return denied(`There is no secret ${name}, which ${toolId} needs.`);
  if (access === 'mutate' && secret.access !== 'mutate') {
    return denied(`Secret ${name} may only be used for reading, and ${toolId} changes something.`);
  }
  const version = secret.currentVersion;
  const stored = await tx.secretVersion.findUnique({
    where: { tenantId_name_version: { tenantId, name, version } },
    select: { state: true },
  });
  if (stored?.state !== 'active') return denied(`Secret ${name} is revoked.`);
  // the first part of the tool id names the system whose credential is used
  const system = systemOf(toolId);
  const identity = { tenantId, runId, system, access, secretName: name, secretVersion: version };
  const row = await tx.grant.upsert({
    where: { tenantId_runId_system_access_secretName_secretVersion: identity },
    create: { ...identity, id: buildGrantId(tenantId, newUlid()) },
    update: {},
  });
  if (row.state !== 'active') return denied(`The use of secret ${name} by this run was revoked.`);
  return { kind: 'grant', grantId: row.id as GrantId, system, access };
}

const accessOf = (spec: ToolSpec): 'read' | 'mutate' => (spec.effect === 'read' ? 'read' : 'mutate');
const systemOf = (toolId: string): string => toolId.split('.')[0] ?? toolId;
const denied = (message: string): GrantAnswer => ({
  kind: 'denied',
  reason: { message, layer: 'credentials' },
});

/** Each refusal stands in the journal; there is no call yet, so the record is about the run and the tool. */
async function recordRefusal(
  db: TenantDb,
  envelope: Envelope,
  toolId: string,
  message: string,
): Promise<void> {
  await db.call('decide', {
    runId: envelope.runId,
    key: `grant:${envelope.runId}:${toolId}`,
    toolId,
    kind: 'denied',
    policyVersion: 0,
    reason: { message, layer: 'credentials' },
  });
}
