import { BulkheadError } from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';
import { findKey } from './key-caller.js';
import { findOperator } from './operator-caller.js';
import { findMember } from './person-caller.js';
import type { PlatformOperator, Principal } from './principal.js';

type Db = Pick<ControlDb, 'query'>;

/**
 * Who an actor's name stands for now, for what acts in their name later and has no key or token any more: a signed-in
 * browser. undefined: the key ended, the person was removed, or the tenant is not served.
 */
export async function findActor(db: Db, tenant: string, actor: string): Promise<Principal | undefined> {
  const found = await find(db, tenant, actor).catch((error: unknown) => {
    if (error instanceof BulkheadError && error.code === 'TENANT_SUSPENDED') return undefined;
    throw error;
  });
  return found?.tenantId === tenant ? found : undefined;
}

async function find(db: Db, tenant: string, actor: string): Promise<Principal | undefined> {
  const [kind, id = ''] = actor.split(':');
  if (kind === 'key') return findKey(db, id);
  return kind === 'user' ? findMember(db, tenant, id) : undefined;
}

/** As findActor, for operators of the platform. */
export const findOperatorActor = (db: Db, actor: string): Promise<PlatformOperator | undefined> =>
  findOperator(db, actor.slice('operator:'.length), undefined);
