import { BulkheadError } from '@bulkhead/contract';
import type { WorkspaceId } from '@bulkhead/contract';
import { Prisma } from '@bulkhead/prisma/tenant';
import type { TenantClient, TenantDb } from '@bulkhead/prisma/tenant';
import { newApiKey } from './api-keys.js';
import type { Role } from './api-keys.js';
import { mustHaveWorkspace, mustStand, note, PLATFORM } from './changes.js';
import type { By } from './changes.js';
import { revokeInvitationsOf } from './withdraw.js';

/** A key as people see it: everything but the secret, of which we have only the hash. */
export interface ApiKey {
  readonly prefix: string;
  readonly name: string;
  readonly role: string;
  /** What of the role's permissions the key has; undefined: all of it. */
  readonly permissions: readonly string[] | undefined;
  readonly workspaceId: WorkspaceId | undefined;
  readonly createdBy: string;
  readonly createdAt: Date;
  readonly expiresAt: Date | undefined;
  readonly revokedAt: Date | undefined;
  /** To the minute. */
  readonly lastUsedAt: Date | undefined;
}

export interface NewKey {
  readonly name: string;
  readonly role: Role;
  readonly expiresAt?: Date | undefined;
  /** All of the role unless given. */
  readonly permissions?: readonly string[] | undefined;
  /** All workspaces unless given. */
  readonly workspaceId?: string | undefined;
  /** A command on the machine unless given. */
  readonly by?: By;
}

/**
 * Creates an API key and returns it this once; only its hash is stored. Whether `by` may give that much is the caller's
 * to check.
 * @throws BulkheadError NOT_FOUND when there is no such workspace.
 */
export async function createApiKey(
  db: TenantDb,
  key: NewKey,
): Promise<{ readonly key: string; readonly prefix: string; readonly made: ApiKey }> {
  const { key: text, prefix, hash } = newApiKey();
  const { name, role, permissions, workspaceId, expiresAt, by = PLATFORM } = key;
  const row = await db.run(async (tx) => {
    await mustStand(tx, by);
    await mustHaveWorkspace(tx, db.tenantId, workspaceId);
    const created = await tx.apiKey.create({
      data: {
        tenantId: db.tenantId,
        prefix,
        hash: new Uint8Array(hash),
        name,
        role,
        permissions: permissions ? [...permissions] : Prisma.DbNull,
        workspaceId: workspaceId ?? null,
        expiresAt: expiresAt ?? null,
        createdBy: by.actor,
        owner: by === PLATFORM ? null : by.responsible,
      },
    });
    await note(tx, by, 'key_created', {
      prefix,
      after: {
        name,
        role,
        permissions: permissions ? [...permissions] : null,
        workspaceId: workspaceId ?? null,
        expiresAt: expiresAt?.toISOString() ?? null,
      },
    });
    return created;
  });
  return { key: text, prefix, made: keyOf(row) };
}

/**
 * Ends a key, and with `withItsKeys` every key that was made with it and with those: the API refuses them from their
 * next request on. Its open invitations end with it. Answers with what ended.
 * @throws BulkheadError NOT_FOUND when there is no such key within reach, or it ended before.
 */
export async function revokeApiKey(
  db: TenantDb,
  prefix: string,
  options: {
    readonly by?: By;
    readonly within?: Prisma.ApiKeyWhereInput;
    readonly withItsKeys?: boolean;
  } = {},
): Promise<ApiKey[]> {
  const { by = PLATFORM, within = {}, withItsKeys = false } = options;
  return db.run(async (tx) => {
    const key = await tx.apiKey.findFirst({ where: { AND: [{ prefix, revokedAt: null }, within] } });
    if (!key) throw new BulkheadError('NOT_FOUND', { field: 'prefix' });
    return endKeys(tx, by, withItsKeys ? [prefix, ...(await madeWith(tx, prefix))] : [prefix]);
  });
}

/** Ends the keys that a person answers for. */
export async function revokeKeysOf(tx: TenantClient, by: By, owner: string): Promise<ApiKey[]> {
  const rows = await tx.apiKey.findMany({ where: { owner, revokedAt: null }, select: { prefix: true } });
  return endKeys(
    tx,
    by,
    rows.map(({ prefix }) => prefix),
  );
}

async function endKeys(tx: TenantClient, by: By, prefixes: readonly string[]): Promise<ApiKey[]> {
  const where = { prefix: { in: [...prefixes] }, revokedAt: null };
  const ended = await tx.apiKey.updateManyAndReturn({ where, data: { revokedAt: new Date() } });
  for (const { prefix } of ended) await note(tx, by, 'key_revoked', { prefix });
  await revokeInvitationsOf(
    tx,
    by,
    ended.map(({ prefix }) => `key:${prefix}`),
  );
  return ended.map(keyOf);
}

async function madeWith(tx: TenantClient, prefix: string): Promise<string[]> {
  const rows = await tx.$queryRaw<{ prefix: string }[]>`
    WITH RECURSIVE made AS (
      SELECT k.prefix FROM api_keys k WHERE k.tenant_id = app_tenant() AND k.created_by = 'key:' || ${prefix}
      UNION
      SELECT k.prefix FROM api_keys k JOIN made m ON k.created_by = 'key:' || m.prefix WHERE k.tenant_id = app_tenant())
    SELECT prefix FROM made`;
  return rows.map((row) => row.prefix);
}

/** Keys within reach by prefix, also those that ended; at most `first` (1 to 100). */
export async function listApiKeys(
  db: TenantDb,
  page: {
    readonly first: number;
    readonly after?: string | undefined;
    readonly within: Prisma.ApiKeyWhereInput;
  },
): Promise<{ readonly nodes: readonly ApiKey[]; readonly endCursor: string | undefined }> {
  const rows = await db.run((tx) =>
    tx.apiKey.findMany({
      where: { AND: [page.within, page.after === undefined ? {} : { prefix: { gt: page.after } }] },
      orderBy: { prefix: 'asc' },
      take: page.first + 1,
    }),
  );
  const nodes = rows.slice(0, page.first).map(keyOf);
  return { nodes, endCursor: rows.length > page.first ? nodes.at(-1)?.prefix : undefined };
}

function keyOf(row: Prisma.ApiKeyGetPayload<object>): ApiKey {
  return {
    prefix: row.prefix,
    name: row.name,
    role: row.role,
    permissions: (row.permissions ?? undefined) as readonly string[] | undefined,
    workspaceId: (row.workspaceId ?? undefined) as WorkspaceId | undefined,
    createdBy: row.createdBy,
    createdAt: row.createdAt,
    expiresAt: row.expiresAt ?? undefined,
    revokedAt: row.revokedAt ?? undefined,
    lastUsedAt: row.lastUsedAt ?? undefined,
  };
}
