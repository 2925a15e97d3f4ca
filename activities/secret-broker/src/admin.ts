import { z } from 'zod';
import { BulkheadError } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import type { TenantClient, TenantDb } from '@bulkhead/prisma/tenant';
import type { KeyRing } from '@bulkhead/runtime/keys';
import { sealSecret } from './crypto.js';
import { storedRules } from './change.js';
import type { RuleSet as StoredRules } from './change.js';
import { record } from './record.js';
import { badSecret, Rules } from './rules.js';
import type { By, SecretRules } from './rules.js';

export { changeSecret } from './change.js';
export type { RuleChange } from './change.js';
export type { By, SecretRules } from './rules.js';
export { liftRevocation, listRevocations, revokeSecrets, REVOCATION_SCOPES } from './revocations.js';
export type { Revocation, RevocationInfo, RevocationOrder, RevocationScope } from './revocations.js';

/** What a person may know of a secret; its value can be written and never read. */
export interface SecretInfo {
  readonly name: string;
  /** The widest use it may be granted for. */
  readonly access: 'read' | 'mutate';
  readonly purpose: string;
  /** host[:port] each, to which the value may be sent. */
  readonly boundHosts: readonly string[];
  /** Agent ids, or `class:<quota class>`; undefined: any agent. */
  readonly agents: readonly string[] | undefined;
  /** Tool ids; undefined: any tool that names it. */
  readonly tools: readonly string[] | undefined;
  readonly version: number;
  /** Raised with each change of who may use it, for what and where. */
  readonly rulesVersion: number;
  /** active | revoked */
  readonly state: string;
  readonly createdAt: Date;
  /** When a run was last given its use, within 10 s; undefined: never. */
  readonly lastGrantedAt: Date | undefined;
}

/** Printable ASCII, as it stands in a header. Shorter values could not be told from ordinary text when redacting. */
const VALUE = z
  .string()
  .min(8)
  .max(8_192)
  .regex(/^[\x21-\x7e]+$/, 'must be printable ASCII without spaces');

const NewSecret = Rules.extend({ name: z.string().regex(/^[a-z][a-z0-9-]{0,62}$/), value: VALUE });
type NewSecret = z.infer<typeof NewSecret>;
const Rotation = NewSecret.partial({ access: true, boundHosts: true, purpose: true });

/** One host and everybody: what an installation's own set-up stores. */
export interface StoredSecret {
  readonly name: string;
  readonly access: 'read' | 'mutate';
  readonly boundHost: string;
  readonly value: string;
}

/** How often two admins may be faster than a third before that one is told to try again. */
const STORE_TRIES = 5;

/**
 * Stores a secret, or its next version, with one host and no further limits.
 * @throws BulkheadError BAD_INPUT with the field; its message never quotes the value. INVALID_STATE when others keep
 * storing versions of the same secret at this very moment.
 */
export function storeSecret(
  db: TenantDb,
  keyRing: Pick<KeyRing, 'seal'>,
  { name, access, boundHost, value }: StoredSecret,
): Promise<{ readonly version: number }> {
  return storeNew(db, keyRing, { name, access, value, boundHosts: [boundHost], purpose: '' }, {});
}

/** A secret that does not exist yet. @throws BulkheadError BAD_INPUT, INVALID_STATE when the name is taken */
export async function createSecret(
  db: TenantDb,
  keyRing: Pick<KeyRing, 'seal'>,
  secret: SecretRules & { readonly name: string; readonly value: string },
  by: By,
): Promise<{ readonly version: number }> {
  const { tenantId } = db;
  const { name } = checked(NewSecret, secret);
  const taken = await db.run((tx) => tx.secret.findUnique({ where: { tenantId_name: { tenantId, name } } }));
  if (taken) {
    throw new BulkheadError('INVALID_STATE', {
      field: 'name',
      publicMessage: 'There is a secret of this name; rotate it.',
    });
  }
  return storeNew(db, keyRing, secret, { by, version: 1 });
}

/**
 * A new value, and what else is given anew. Calls go on: what has been admitted ends with the value it has, every later
 * call uses the new one. @throws BulkheadError NOT_FOUND, BAD_INPUT, INVALID_STATE
 */
export async function rotateSecret(
  db: TenantDb,
  keyRing: Pick<KeyRing, 'seal'>,
  change: Partial<SecretRules> & { readonly name: string; readonly value: string },
  by: By,
): Promise<{ readonly version: number }> {
  const { tenantId } = db;
  // first: of what is not here no field is judged
  await db.run((tx) => storedRules(tx, tenantId, change.name));
  const { name, value, access, boundHosts, purpose, agents, tools } = checked(Rotation, change);
  // under the lock: what another admin has taken away meanwhile must not come back
  const rulesOf = async (tx: TenantClient): Promise<StoredRules> => {
    const stored = await storedRules(tx, tenantId, name);
    return {
      access: access ?? stored.access,
      boundHosts: boundHosts ?? stored.boundHosts,
      purpose: purpose ?? stored.purpose,
      agents: agents ?? stored.agents,
      tools: tools ?? stored.tools,
    };
  };
  return storeVersion(db, keyRing, { name, value, rulesOf }, { by });
}

interface How {
  readonly by?: By;
  readonly version?: number;
}
interface NextVersion {
  readonly name: string;
  readonly value: string;
  /** Asked in the transaction that stores, under the tenant's lock. */
  readonly rulesOf: (tx: TenantClient) => Promise<StoredRules>;
}

async function storeNew(
  db: TenantDb,
  keyRing: Pick<KeyRing, 'seal'>,
  secret: NewSecret,
  how: How,
): Promise<{ readonly version: number }> {
  const { name, value, agents, tools, ...rest } = checked(NewSecret, secret);
  const rules = { ...rest, agents: agents ?? null, tools: tools ?? null };
  return storeVersion(db, keyRing, { name, value, rulesOf: () => Promise.resolve(rules) }, how);
}

async function storeVersion(
  db: TenantDb,
  keyRing: Pick<KeyRing, 'seal'>,
  next: NextVersion,
  how: How,
): Promise<{ readonly version: number }> {
  const { tenantId } = db;
  const { name, value } = next;
  for (let tries = 0; tries < STORE_TRIES; tries += 1) {
    const version = how.version ?? (await db.run((tx) => newestVersion(tx, tenantId, name))) + 1;
    // Sealed before the transaction: it may have to load the tenant's key, and a transaction that waits for a second
    // connection of the same tenant's share can wait forever.
    const sealed = await sealSecret(keyRing, { tenantId, name, version }, value);
    if (await insertVersion(db, next, version, sealed, how.by)) return { version };
  }
  throw new BulkheadError('INVALID_STATE', { field: 'name' });
}

async function newestVersion(tx: TenantClient, tenantId: TenantId, name: string): Promise<number> {
  const newest = await tx.secretVersion.aggregate({ where: { tenantId, name }, _max: { version: true } });
  return newest._max.version ?? 0;
}

/** false: somebody else stored that version meanwhile, and ours is sealed under a number that is taken. */
function insertVersion(
  db: TenantDb,
  { name, rulesOf }: NextVersion,
  version: number,
  sealed: Awaited<ReturnType<typeof sealSecret>>,
  by: By | undefined,
): Promise<boolean> {
  const { tenantId } = db;
  return db.change(async (tx) => {
    if ((await newestVersion(tx, tenantId, name)) !== version - 1) return false;
    const { access, boundHosts, purpose, agents, tools } = await rulesOf(tx);
    // the wrapped key names its tenant key itself; the column is for people and rotation
    const keyId = sealed.wrappedKey.subarray(2, 2 + (sealed.wrappedKey[1] ?? 0)).toString('utf8');
    const data = { access, boundHosts, purpose, currentVersion: version };
    await tx.secret.upsert({
      where: { tenantId_name: { tenantId, name } },
      create: { tenantId, name, ...data },
      update: data,
    });
    // NULL says "anyone", which Prisma has no word for
    await tx.$executeRaw`UPDATE secrets SET agents = ${agents}::text[], tools = ${tools}::text[], rules_version = rules_version + 1
      WHERE tenant_id = ${tenantId} AND name = ${name}`;
    await tx.secretVersion.create({ data: { tenantId, name, version, keyId, ...sealed } });
    await record(tx, tenantId, {
      change: 'secret_stored',
      secret: name,
      version,
      access,
      boundHosts,
      agents,
      tools,
      ...(by === undefined ? {} : { by: by.actor, reason: by.reason }),
    });
    return true;
  });
}

/** Names, uses and versions, never a value; at most 500. */
export function listSecrets(db: TenantDb): Promise<readonly SecretInfo[]> {
  return db.run(async (tx) => {
    const rows = await tx.$queryRaw<SecretRow[]>`
      SELECT s.name, s.access, s.purpose, s.bound_hosts AS "boundHosts", s.agents, s.tools, s.last_granted_at AS "lastGrantedAt",
             s.rules_version AS "rulesVersion",
             v.version, v.state, v.created_at AS "createdAt"
        FROM secrets s JOIN secret_versions v ON v.tenant_id = s.tenant_id AND v.name = s.name AND v.version = s.current_version
       WHERE s.tenant_id = ${db.tenantId} ORDER BY s.name LIMIT 500`;
    return rows.map((row) => ({
      ...row,
      access: row.access === 'mutate' ? 'mutate' : 'read',
      agents: row.agents ?? undefined,
      tools: row.tools ?? undefined,
      lastGrantedAt: row.lastGrantedAt ?? undefined,
    }));
  });
}

interface SecretRow {
  readonly name: string;
  readonly access: string;
  readonly purpose: string;
  readonly boundHosts: string[];
  readonly agents: string[] | null;
  readonly tools: string[] | null;
  readonly lastGrantedAt: Date | null;
  readonly version: number;
  readonly rulesVersion: number;
  readonly state: string;
  readonly createdAt: Date;
}

function checked<S extends typeof NewSecret | typeof Rotation>(schema: S, secret: z.input<S>): z.output<S> {
  const parsed = schema.safeParse(secret);
  if (parsed.success) return parsed.data as z.output<S>;
  throw badSecret(parsed.error);
}
