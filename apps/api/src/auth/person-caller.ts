import { BulkheadError, tenantId } from '@bulkhead/contract';
import type { WorkspaceId } from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';
import { accessOf } from './access.js';
import type { Identity } from './issuers.js';
import { roleOf, SERVED } from './key-caller.js';
import { findOperator } from './operator-caller.js';
import type { Caller, Membership, Principal } from './principal.js';

type Db = Pick<ControlDb, 'query'>;

interface MemberRow {
  readonly tenant_id: string;
  readonly role: string;
  readonly workspace_id: string | null;
  readonly status: string;
}

/**
 * A person who proved who they are: an operator of the platform, a member of the tenant that was chosen (the only one
 * needs no choice), or nobody's member yet.
 * @throws BulkheadError FORBIDDEN when the chosen tenant is not one of theirs, the same whether or not it exists;
 * TENANT_SUSPENDED when the chosen one is not served
 */
export async function findPersonCaller(
  db: Db,
  identity: Identity,
  chosen: string | undefined,
): Promise<Caller> {
  const operator = await findOperator(db, identity.id, identity.expiresAt);
  if (operator) return operator;
  const members = await db.query<MemberRow>(MEMBERSHIPS, [identity.id], 'find_memberships');
  const memberships = members.flatMap((row) => membershipOf(row) ?? []);
  const wanted = chosenTenant(identity, chosen);
  const member = wanted === undefined ? onlyOne(members) : members.find((row) => row.tenant_id === wanted);
  if (wanted !== undefined && !member) {
    throw notTheirs();
  }
  const actor = `user:${identity.id}`;
  const { expiresAt } = identity;
  const can = (): false => false;
  const person = { kind: 'person', actor, identity, memberships, expiresAt, can } as const;
  // nobody chose it, so it must not keep them from joining another
  if (member && wanted === undefined && !SERVED.has(member.status))
    return { ...person, refused: 'TENANT_SUSPENDED' };
  const principal = member && principalOf(member, actor, expiresAt);
  return principal ? { ...principal, identity, memberships } : person;
}

/** A member by id, for what acts for them later: a signed-in browser. undefined: not a member any more. */
export async function findMember(db: Db, tenant: string, id: string): Promise<Principal | undefined> {
  const rows = await db.query<MemberRow>(MEMBERSHIPS, [id], 'find_memberships');
  const row = rows.find((candidate) => candidate.tenant_id === tenant);
  return row && principalOf(row, `user:${id}`, undefined);
}

/** The same for tenants of others and tenants that do not exist. */
export const notTheirs = (): BulkheadError =>
  new BulkheadError('FORBIDDEN', { publicMessage: 'You are not a member of that tenant.' });

/** A token that is limited to a tenant stays limited, whatever the header says. */
function chosenTenant(identity: Identity, chosen: string | undefined): string | undefined {
  if (identity.tenant !== undefined && chosen !== undefined && identity.tenant !== chosen) {
    throw notTheirs();
  }
  return identity.tenant ?? chosen;
}

const onlyOne = (members: readonly MemberRow[]): MemberRow | undefined =>
  members.length === 1 ? members[0] : undefined;

function membershipOf(row: MemberRow): Membership | undefined {
  const role = roleOf(row.role);
  return role && { tenantId: tenantId(row.tenant_id), role, workspaceId: workspaceOf(row) };
}

const workspaceOf = (row: MemberRow): WorkspaceId | undefined =>
  (row.workspace_id ?? undefined) as WorkspaceId | undefined;

function principalOf(row: MemberRow, actor: string, expiresAt: Date | undefined): Principal | undefined {
  const role = roleOf(row.role);
  if (!role) return undefined;
  if (!SERVED.has(row.status)) throw new BulkheadError('TENANT_SUSPENDED');
  const workspaceId = workspaceOf(row);
  return {
    kind: 'member',
    tenantId: tenantId(row.tenant_id),
    actor,
    responsible: actor,
    standing: { role, workspaceId: row.workspace_id },
    role,
    workspaceId,
    expiresAt,
    ...accessOf({ role, workspaceId, responsible: actor }),
  };
}

/** Read anew each time: who was removed is nobody's member from the next request on. */
const MEMBERSHIPS = `
  SELECT m.tenant_id, m.role, m.workspace_id, t.status FROM members m JOIN tenants t ON t.id = m.tenant_id
   WHERE m.id = $1 AND m.removed_at IS NULL ORDER BY m.tenant_id LIMIT 200`;
