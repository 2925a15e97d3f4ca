import { BulkheadError, tenantId } from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';
import { parseApiKey, ROLES, sameHash } from '@bulkhead/tenancy/admin';
import type { Principal } from './principal.js';

export type Authenticate = (authorization: string | undefined) => Promise<Principal>;

interface KeyRow {
  readonly tenant_id: string;
  readonly hash: Buffer;
  readonly role: string;
  readonly usable: boolean;
  readonly stale: boolean;
}

/** Stands in for the hash of a key that does not exist, so that both cases do the same work. */
const NO_HASH = Buffer.alloc(32);
const BEARER = /^bearer +(\S+)$/i;

/**
 * Reads the key anew for each request, so a revoked one is refused from the next request on. Missing, forged, revoked
 * and expired keys get one and the same answer.
 * @throws BulkheadError UNAUTHENTICATED
 */
export function createAuthenticator(control: Pick<ControlDb, 'query'>): Authenticate {
  return async (authorization) => {
    const presented = parseApiKey(BEARER.exec(authorization ?? '')?.[1] ?? '');
    if (!presented) throw new BulkheadError('UNAUTHENTICATED');
    const [row] = await control.query<KeyRow>(FIND, [presented.prefix]);
    const genuine = sameHash(row?.hash ?? NO_HASH, presented.hash);
    const role = ROLES.find((known) => known === row?.role);
    if (!row || !genuine || !row.usable || !role) throw new BulkheadError('UNAUTHENTICATED');
    // at most once a minute: a busy key must not turn each read into a write
    if (row.stale) await control.query(TOUCH, [presented.prefix]);
    return { tenantId: tenantId(row.tenant_id), actor: `key:${presented.prefix}`, role };
  };
}

const FIND = `
  SELECT k.tenant_id, k.hash, k.role,
         k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()) AND t.status <> 'suspended' AS usable,
         k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute' AS stale
    FROM api_keys k JOIN tenants t ON t.id = k.tenant_id
   WHERE k.prefix = $1`;

const TOUCH = `UPDATE api_keys SET last_used_at = now()
   WHERE prefix = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')`;
