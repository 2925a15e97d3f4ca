import { BulkheadError } from '@bulkhead/contract';
import type { WorkspaceId } from '@bulkhead/contract';
import type { Prisma, TenantClient, TenantDb } from '@bulkhead/prisma/tenant';
import type { Role } from './api-keys.js';
import { mustHaveWorkspace, mustStand, note, personBehind } from './changes.js';
import type { By } from './changes.js';
import { revokeKeysOf } from './keys.js';
import { revokeInvitationsOf } from './withdraw.js';

/** A person of this tenant. */
export interface Member {
  readonly id: string;
  readonly email: string | undefined;
  readonly name: string | undefined;
  readonly role: string;
  /** undefined: all workspaces. */
  readonly workspaceId: WorkspaceId | undefined;
  readonly createdBy: string;
  readonly createdAt: Date;
}

/** Members within reach by id; at most `first` (1 to 100). */
export async function listMembers(
  db: TenantDb,
  page: {
    readonly first: number;
    readonly after?: string | undefined;
    readonly within: Prisma.MemberWhereInput;
  },
): Promise<{ readonly nodes: readonly Member[]; readonly endCursor: string | undefined }> {
  const after = page.after === undefined ? {} : { id: { gt: page.after } };
  const rows = await db.run((tx) =>
    tx.member.findMany({
      where: { AND: [page.within, { removedAt: null }, after] },
      orderBy: { id: 'asc' },
      take: page.first + 1,
    }),
  );
  const nodes = rows.slice(0, page.first).map(memberOf);
  return { nodes, endCursor: rows.length > page.first ? nodes.at(-1)?.id : undefined };
}

interface Target {
  readonly memberId: string;
  readonly by: By;
  /** Which members `by` reaches at all. */
  readonly within: Prisma.MemberWhereInput;
}

/**
 * Gives a member another role, or other workspaces (undefined: as before, null: all). It holds from the member's next
 * operation on, for their keys too; invitations that they gave end.
 * @throws BulkheadError NOT_FOUND, INVALID_STATE for the last admin
 */
export async function changeRole(
  db: TenantDb,
  change: Target & { readonly role: Role; readonly workspaceId?: string | null | undefined },
): Promise<Member> {
  const { memberId, by, within, role } = change;
  return db.run(async (tx) => {
    await lockAdmins(tx, [memberId, personBehind(by) ?? memberId]);
    await mustStand(tx, by);
    const before = await find(tx, memberId, within);
    const workspaceId = change.workspaceId === undefined ? before.workspaceId : change.workspaceId;
    await mustHaveWorkspace(tx, db.tenantId, workspaceId);
    if (role !== 'admin' || workspaceId !== null) await keepAnAdmin(tx, before);
    const after = await tx.member.update({
      where: { tenantId_id: { tenantId: db.tenantId, id: memberId } },
      data: { role, workspaceId },
    });
    await revokeInvitationsOf(tx, by, await namesOf(tx, memberId));
    await note(tx, by, 'role_changed', {
      member: memberId,
      before: { role: before.role, workspaceId: before.workspaceId },
      after: { role, workspaceId },
    });
    return memberOf(after);
  });
}

/**
 * Ends a membership, and the person's keys and open invitations with it.
 * @throws BulkheadError NOT_FOUND, INVALID_STATE for the last admin
 */
export async function removeMember(
  db: TenantDb,
  { memberId, by, within }: Target,
): Promise<{ readonly member: Member; readonly keysRevoked: number }> {
  return db.run(async (tx) => {
    await lockAdmins(tx, [memberId, personBehind(by) ?? memberId]);
    await mustStand(tx, by);
    const before = await find(tx, memberId, within);
    await keepAnAdmin(tx, before);
    await tx.member.update({
      where: { tenantId_id: { tenantId: db.tenantId, id: memberId } },
      data: { removedAt: new Date() },
    });
    await revokeInvitationsOf(tx, by, await namesOf(tx, memberId));
    const keys = await revokeKeysOf(tx, by, `user:${memberId}`);
    await note(tx, by, 'member_removed', {
      member: memberId,
      before: { role: before.role, workspaceId: before.workspaceId },
    });
    return { member: memberOf(before), keysRevoked: keys.length };
  });
}

/** Under this lock the admins are counted: two of them who remove each other at one moment leave one. */
async function lockAdmins(tx: TenantClient, concerned: readonly string[]): Promise<void> {
  await tx.$queryRaw`SELECT id FROM members WHERE tenant_id = app_tenant() AND removed_at IS NULL
    AND (id = ANY (${concerned}) OR role = 'admin' AND workspace_id IS NULL) ORDER BY id FOR UPDATE`;
}

async function keepAnAdmin(
  tx: TenantClient,
  member: { id: string; role: string; workspaceId: string | null },
) {
  if (member.role !== 'admin' || member.workspaceId !== null) return;
  const others = await tx.member.count({
    where: { role: 'admin', workspaceId: null, removedAt: null, id: { not: member.id } },
  });
  if (others > 0) return;
  throw new BulkheadError('INVALID_STATE', {
    publicMessage: 'This is the last admin of the tenant. Make somebody else an admin first.',
  });
}

async function find(
  tx: TenantClient,
  id: string,
  within: Prisma.MemberWhereInput,
): Promise<Prisma.MemberGetPayload<object>> {
  const member = await tx.member.findFirst({ where: { AND: [{ id, removedAt: null }, within] } });
  if (!member) throw new BulkheadError('NOT_FOUND', { field: 'memberId' });
  return member;
}

/** The person, and the keys that they answer for, as they stand in the journal. */
async function namesOf(tx: TenantClient, id: string): Promise<string[]> {
  const keys = await tx.apiKey.findMany({ where: { owner: `user:${id}` }, select: { prefix: true } });
  return [`user:${id}`, ...keys.map(({ prefix }) => `key:${prefix}`)];
}

export function memberOf(row: Prisma.MemberGetPayload<object>): Member {
  return {
    id: row.id,
    email: row.email ?? undefined,
    name: row.name ?? undefined,
    role: row.role,
    workspaceId: (row.workspaceId ?? undefined) as WorkspaceId | undefined,
    createdBy: row.createdBy,
    createdAt: row.createdAt,
  };
}
