import { z } from 'zod';
import { BulkheadError } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import type { TenantClient, TenantDb } from '@bulkhead/prisma/tenant';
import type { KeyRing } from '@bulkhead/runtime/keys';
import { sealSecret } from './crypto.js';

/** What a person may know of a secret; its value can be written and never read. */
export interface SecretInfo {
  readonly name: string;
  /** The widest use it may be granted for. */
  readonly access: 'read' | 'mutate';
  /** host[:port] to which the value may be sent. */
  readonly boundHost: string;
  readonly version: number;
  /** active | revoked */
  readonly state: string;
  readonly createdAt: Date;
}

const NewSecret = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9-]{0,62}$/),
  access: z.enum(['read', 'mutate']),
  boundHost: z.string().max(260).refine(isHost, 'must be host or host:port, in lower case'),
  /** Printable ASCII, as it stands in a header. Shorter values could not be told from ordinary text when redacting. */
  value: z
    .string()
    .min(8)
    .max(8_192)
    .regex(/^[\x21-\x7e]+$/, 'must be printable ASCII without spaces'),
});
export type NewSecret = z.infer<typeof NewSecret>;

/** How often two admins may be faster than a third before that one is told to try again. */
const STORE_TRIES = 5;

/**
 * Stores a new version, which is the current one from the commit on: grants of older versions become stale.
 * @throws BulkheadError BAD_INPUT with the field; its message never quotes the value. INVALID_STATE when others keep
 * storing versions of the same secret at this very moment.
 */
export async function storeSecret(
  db: TenantDb,
  keyRing: Pick<KeyRing, 'seal'>,
  secret: NewSecret,
): Promise<{ readonly version: number }> {
  const checkedSecret = checked(secret);
  for (let tries = 0; tries < STORE_TRIES; tries += 1) {
    const version = (await db.run((tx) => newestVersion(tx, db.tenantId, secret.name))) + 1;
    // Sealed before the transaction: it may have to load the tenant's key, and a transaction that waits for a second
    // connection of the same tenant's share can wait forever.
    const sealed = await sealSecret(
      keyRing,
      { tenantId: db.tenantId, name: secret.name, version },
      checkedSecret.value,
    );
    if (await insertVersion(db, checkedSecret, version, sealed)) return { version };
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
  secret: NewSecret,
  version: number,
  sealed: Awaited<ReturnType<typeof sealSecret>>,
): Promise<boolean> {
  const { name, access, boundHost } = secret;
  const { tenantId } = db;
  return db.change(async (tx) => {
    if ((await newestVersion(tx, tenantId, name)) !== version - 1) return false;
    // the wrapped key names its tenant key itself; the column is for people and rotation
    const keyId = sealed.wrappedKey.subarray(2, 2 + (sealed.wrappedKey[1] ?? 0)).toString('utf8');
    const data = { access, boundHost, currentVersion: version };
    await tx.secret.upsert({
      where: { tenantId_name: { tenantId, name } },
      create: { tenantId, name, ...data },
      update: data,
    });
    await tx.secretVersion.create({ data: { tenantId, name, version, keyId, ...sealed } });
    await record(tx, tenantId, { change: 'secret_stored', secret: name, version, access, boundHost });
    return true;
  });
}

/** Revokes the current version; after the commit no call is admitted with it. @throws BulkheadError NOT_FOUND */
export async function revokeSecret(
  db: TenantDb,
  name: string,
  by: { readonly actor: string; readonly reason: string },
): Promise<void> {
  const { tenantId } = db;
  await db.change(async (tx) => {
    const { count } = await tx.secretVersion.updateMany({
      where: { tenantId, name, state: 'active' },
      data: { state: 'revoked' },
    });
    if (count === 0) throw new BulkheadError('NOT_FOUND', { field: 'name' });
    await record(tx, tenantId, {
      change: 'secret_revoked',
      secret: name,
      by: by.actor,
      reason: by.reason,
      versions: count,
    });
  });
}

/** Names, uses and versions; at most 500. */
export function listSecrets(db: TenantDb): Promise<readonly SecretInfo[]> {
  return db.run(async (tx) => {
    const secrets = await tx.secret.findMany({ orderBy: { name: 'asc' }, take: 500 });
    const versions = await tx.secretVersion.findMany({
      where: { OR: secrets.map(({ name, currentVersion }) => ({ name, version: currentVersion })) },
      select: { name: true, state: true, createdAt: true },
    });
    return secrets.flatMap((secret) => {
      const current = versions.find((row) => row.name === secret.name);
      if (!current) return [];
      const { name, boundHost, currentVersion: version } = secret;
      const access = secret.access === 'mutate' ? ('mutate' as const) : ('read' as const);
      return [{ name, access, boundHost, version, state: current.state, createdAt: current.createdAt }];
    });
  });
}

function checked(secret: NewSecret): NewSecret {
  const parsed = NewSecret.safeParse(secret);
  if (parsed.success) return parsed.data;
  const field = parsed.error.issues[0]?.path.join('.') ?? 'secret';
  throw new BulkheadError('BAD_INPUT', { field, publicMessage: `${field} is not valid for a secret.` });
}

function isHost(text: string): boolean {
  const url = URL.parse(`http://${text}`);
  return url !== null && url.pathname === '/' && !/[/?#@]/.test(text) && text === text.toLowerCase();
}

async function record(
  tx: TenantClient,
  tenantId: string,
  body: Record<string, string | number>,
): Promise<void> {
  await tx.journalRecord.create({ data: { tenantId, kind: 'control', body } });
}
