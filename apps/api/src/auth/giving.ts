import { BulkheadError } from '@bulkhead/contract';
import type { Role } from '@bulkhead/tenancy/admin';
import { accessOf } from './access.js';
import type { Principal } from './principal.js';
import { PERMISSIONS, reachOf } from './roles.js';
import type { Permission } from './roles.js';

/** What a caller wants to hand on: as a role of a member, an invitation or a key. */
export interface Gift {
  readonly role: Role;
  /** All of the role's unless given. */
  readonly permissions?: readonly Permission[] | undefined;
  /** undefined: all workspaces. */
  readonly workspaceId?: string | undefined;
}

/**
 * Nobody gives more than they have: no stronger role (approvals are decided by its name), no permission that they lack,
 * no workspace beyond theirs.
 * @throws BulkheadError FORBIDDEN
 */
export function checkGift(giver: Principal, gift: Gift): void {
  const { role, permissions, workspaceId } = gift;
  if (giver.workspaceId !== undefined && workspaceId !== giver.workspaceId) {
    throw tooMuch('You can give access to your own workspace only.');
  }
  const given = accessOf({ role, subset: permissions, workspaceId, responsible: giver.responsible });
  const empty = permissions?.find((permission) => !given.can(permission));
  if (empty) throw tooMuch(`${role} does not have ${empty} there.`);
  const lacking = PERMISSIONS.find((permission) => !holds(giver.reach(permission), given.reach(permission)));
  if (lacking) throw tooMuch(`You cannot give ${lacking}: you do not have it yourself.`);
  const stronger = PERMISSIONS.some(
    (permission) => !holds(reachOf(giver.role, permission), reachOf(role, permission)),
  );
  if (stronger) throw tooMuch(`You cannot give the role ${role}: it is stronger than yours.`);
}

type Reach = 'all' | 'own' | undefined;

const holds = (have: Reach, wanted: Reach): boolean =>
  wanted === undefined || have === 'all' || have === wanted;

const tooMuch = (publicMessage: string): BulkheadError => new BulkheadError('FORBIDDEN', { publicMessage });
