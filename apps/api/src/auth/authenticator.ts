import { BulkheadError } from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';
import { parseApiKey } from '@bulkhead/tenancy/admin';
import { proofOf } from './credentials.js';
import type { Identify } from './issuers.js';
import { findKeyCaller } from './key-caller.js';
import { findOperatorByKey } from './operator-caller.js';
import { findPersonCaller, notTheirs } from './person-caller.js';
import { asMember } from './principal.js';
import type { Caller, Credentials, Principal } from './principal.js';
import type { Permission } from './roles.js';

/**
 * Who is calling. Rows are read anew each time, so a revoked key, a removed member, a changed role and a suspended
 * tenant hold from the next operation on.
 * @throws BulkheadError UNAUTHENTICATED with one and the same answer for a missing, forged, revoked or expired proof;
 * TENANT_SUSPENDED to a tenant's own people and keys; FORBIDDEN when another tenant than theirs is named.
 */
export type Authenticate = (credentials: Credentials) => Promise<Caller>;

export function createAuthenticator(control: Pick<ControlDb, 'query'>, identify: Identify): Authenticate {
  const find = async (proof: string, tenant: string | undefined): Promise<Caller | undefined> => {
    const key = parseApiKey(proof);
    if (key) return (key.kind === 'bho' ? findOperatorByKey : findKeyCaller)(control, key);
    const identity = await identify(proof);
    return identity && findPersonCaller(control, identity, tenant);
  };
  return async ({ authorization, tenant }) => {
    const caller = await find(proofOf(authorization) ?? '', tenant);
    if (!caller) throw new BulkheadError('UNAUTHENTICATED');
    // a key belongs to one tenant: who names another means another, and must not work in this one by mistake
    if (caller.kind === 'member' && tenant !== undefined && tenant !== caller.tenantId) throw notTheirs();
    return caller;
  };
}

/** Asks once more, for what stays open: still the same actor of the same tenant, and still permitted. */
export async function authenticateAgain(
  authenticate: Authenticate,
  credentials: Credentials,
  before: Principal,
  needs: Permission,
): Promise<Principal> {
  const now = asMember(await authenticate(credentials));
  if (now.tenantId !== before.tenantId || now.actor !== before.actor) {
    throw new BulkheadError('UNAUTHENTICATED');
  }
  if (!now.can(needs)) throw new BulkheadError('FORBIDDEN');
  return now;
}
