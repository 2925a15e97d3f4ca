import { z } from 'zod';
import { BulkheadError, tenantId } from '@bulkhead/contract';
import type { WorkspaceId } from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';
import { ROLES, sameHash, SERVED_STATUSES } from '@bulkhead/tenancy/admin';
import type { ApiKeyParts, Role } from '@bulkhead/tenancy/admin';
import { accessOf } from './access.js';
import type { Principal } from './principal.js';
import { PERMISSIONS, reachOf } from './roles.js';

interface KeyRow {
  readonly tenant_id: string;
  readonly hash: Buffer;
  readonly role: string;
  readonly permissions: unknown;
  readonly workspace_id: string | null;
  readonly owner: string | null;
  readonly expires_at: Date | null;
  readonly usable: boolean;
  readonly stale: boolean;
  readonly status: string;
  readonly owner_role: string | null;
  readonly owner_workspace: string | null;
}

/** Stands in for the hash of a key that does not exist, so that both cases do the same work. */
const NO_HASH = Buffer.alloc(32);
const Permissions = z.array(z.string()).nullable();

/** A tenant's API key; undefined when it is not genuine, or no longer good. @throws BulkheadError TENANT_SUSPENDED */
export async function findKeyCaller(
  control: Pick<ControlDb, 'query'>,
  presented: ApiKeyParts,
): Promise<Principal | undefined> {
  const [row] = await control.query<KeyRow>(FIND, [presented.prefix], 'find_key');
  const genuine = sameHash(row?.hash ?? NO_HASH, presented.hash);
  const principal = row && genuine ? principalOf(row, presented.prefix) : undefined;
  // at most once a minute: a busy key must not turn each read into a write
  if (principal && row?.stale) await control.query(TOUCH, [presented.prefix]);
  return principal;
}

/** A key by its prefix, for what acts for it later: a signed-in browser. undefined: not good any more. */
export async function findKey(
  control: Pick<ControlDb, 'query'>,
  prefix: string,
): Promise<Principal | undefined> {
  const [row] = await control.query<KeyRow>(FIND, [prefix], 'find_key');
  return row && principalOf(row, prefix);
}

export const SERVED: ReadonlySet<string> = new Set(SERVED_STATUSES);

/** undefined when the key ended, or the person behind it is no member any more, or not of the key's workspace. */
function principalOf(row: KeyRow, prefix: string): Principal | undefined {
  if (!row.usable) return undefined;
  const role = roleOf(row.role);
  const ofPerson = row.owner?.startsWith('user:') ?? false;
  const bound = roleOf(row.owner_role);
  if (!role || (ofPerson && !bound)) return undefined;
  const workspaces = new Set([row.workspace_id, row.owner_workspace].filter((id) => id !== null));
  if (workspaces.size > 1) return undefined;
  if (!SERVED.has(row.status)) throw new BulkheadError('TENANT_SUSPENDED');
  const [workspaceId] = workspaces as Set<WorkspaceId>;
  const actor = `key:${prefix}`;
  const responsible = row.owner ?? actor;
  const subset = Permissions.parse(row.permissions) ?? undefined;
  return {
    kind: 'member',
    tenantId: tenantId(row.tenant_id),
    actor,
    responsible,
    ...(bound ? { standing: { role: bound, workspaceId: row.owner_workspace } } : {}),
    role: ofPerson && bound ? weaker(role, bound) : role,
    workspaceId,
    expiresAt: row.expires_at ?? undefined,
    ...accessOf({ role, bound, subset, workspaceId, responsible }),
  };
}

export const roleOf = (text: string | null | undefined): Role | undefined =>
  ROLES.find((known) => known === text);

/** A person whose role was lowered keeps no stronger one in a key; approvals are decided by role. */
const weaker = (role: Role, bound: Role): Role =>
  PERMISSIONS.every((permission) => reachOf(role, permission) === undefined || reachOf(bound, permission))
    ? role
    : bound;

const FIND = `
  SELECT k.tenant_id, k.hash, k.role, k.permissions, k.workspace_id, k.owner, k.expires_at, t.status,
         m.role AS owner_role, m.workspace_id AS owner_workspace,
         k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()) AS usable,
         k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute' AS stale
    FROM api_keys k JOIN tenants t ON t.id = k.tenant_id
    LEFT JOIN members m ON m.tenant_id = k.tenant_id AND m.id = substr(k.owner, 6) AND k.owner LIKE 'user:%'
     AND m.removed_at IS NULL
   WHERE k.prefix = $1`;

const TOUCH = `UPDATE api_keys SET last_used_at = now()
   WHERE prefix = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')`;
