import { createHash, randomBytes } from 'node:crypto';
import { BulkheadError, tenantId as parseTenantId } from '@bulkhead/contract';
import type { TenantId, WorkspaceId } from '@bulkhead/contract';
import type { Prisma, TenantClient, TenantDb } from '@bulkhead/prisma/tenant';
import type { Role } from './api-keys.js';
import { SERVED_STATUSES } from './served.js';
import { mustHaveWorkspace, mustStand, note } from './changes.js';
import type { By } from './changes.js';
import { memberOf } from './members.js';
import type { Member } from './members.js';

/** Makes one person a member, once. */
export interface Invitation {
  readonly id: string;
  readonly role: string;
  readonly workspaceId: WorkspaceId | undefined;
  /** Only a person with this verified address may accept; undefined: whoever has the token. */
  readonly email: string | undefined;
  readonly createdBy: string;
  readonly createdAt: Date;
  readonly expiresAt: Date;
}

/** A person who accepts, as their issuer's token says. */
export interface Invited {
  readonly id: string;
  readonly issuer: string;
  readonly subject: string;
  readonly email: string | undefined;
  readonly name: string | undefined;
}

const TOKEN = /^bhi_([a-z][a-z0-9-]{1,30}[a-z0-9])_[\w-]{43}$/;

/** The tenant that an invitation's token names, which proves nothing yet; undefined when the text is no such token. */
export function tenantOfInvitation(token: string): TenantId | undefined {
  const tenant = TOKEN.exec(token)?.[1];
  return tenant === undefined ? undefined : parseTenantId(tenant);
}

/**
 * Makes an invitation and returns its token this once; only its hash is stored. Whether `by` may give that much is the
 * caller's to check.
 * @throws BulkheadError NOT_FOUND when there is no such workspace.
 */
export async function invite(
  db: TenantDb,
  invitation: {
    readonly id: string;
    readonly role: Role;
    readonly workspaceId?: string | undefined;
    readonly email?: string | undefined;
    readonly expiresAt: Date;
    readonly by: By;
  },
): Promise<{ readonly token: string; readonly invitation: Invitation }> {
  const { id, role, workspaceId, email, expiresAt, by } = invitation;
  const token = `bhi_${db.tenantId}_${randomBytes(32).toString('base64url')}`;
  const row = await db.run(async (tx) => {
    await mustStand(tx, by);
    await mustHaveWorkspace(tx, db.tenantId, workspaceId);
    const created = await tx.invitation.create({
      data: {
        tenantId: db.tenantId,
        id,
        hash: hashOf(token),
        role,
        workspaceId: workspaceId ?? null,
        email: email?.toLowerCase() ?? null,
        createdBy: by.actor,
        expiresAt,
      },
    });
    await note(tx, by, 'member_invited', {
      invitation: id,
      after: { role, workspaceId: workspaceId ?? null, bound: email !== undefined },
    });
    return created;
  });
  return { token, invitation: invitationOf(row) };
}

/**
 * Makes the person a member. Of several who try at once, one succeeds.
 * @throws BulkheadError NOT_FOUND, the same for unknown, used, expired, withdrawn and other people's invitations, and
 * those of a suspended tenant;
 * INVALID_STATE when the person is a member already, which does not use it up.
 */
export async function acceptInvitation(db: TenantDb, token: string, person: Invited): Promise<Member> {
  return db.run(async (tx) => {
    const invitation = await lockOpen(tx, hashOf(token));
    const { role, workspaceId, email, createdBy } = invitation;
    if (email !== null && email !== person.email?.toLowerCase()) throw noSuchInvitation();
    const { tenantId } = db;
    const { id } = person;
    const key = { tenantId_id: { tenantId, id } };
    const before = await tx.member.findUnique({ where: key });
    if (before?.removedAt === null) {
      throw new BulkheadError('INVALID_STATE', { publicMessage: 'You are a member of this tenant already.' });
    }
    const data = {
      role,
      workspaceId,
      email: person.email ?? null,
      name: person.name ?? null,
      createdBy,
      removedAt: null,
    };
    const { issuer, subject } = person;
    const row = await tx.member.upsert({
      where: key,
      create: { tenantId, id, issuer, subject, ...data },
      update: data,
    });
    await tx.invitation.update({
      where: { tenantId_id: { tenantId, id: invitation.id } },
      data: { acceptedAt: new Date(), acceptedBy: `user:${id}` },
    });
    await note(tx, { actor: `user:${id}`, responsible: `user:${id}` }, 'member_joined', {
      member: id,
      invitation: invitation.id,
      invitedBy: createdBy,
      after: { role, workspaceId },
    });
    return memberOf(row);
  });
}

async function lockOpen(
  tx: TenantClient,
  hash: Uint8Array<ArrayBuffer>,
): Promise<Prisma.InvitationGetPayload<object>> {
  await tx.$queryRaw`SELECT id FROM invitations WHERE tenant_id = app_tenant() AND hash = ${hash} FOR UPDATE`;
  const open = { hash, acceptedAt: null, revokedAt: null, expiresAt: { gt: new Date() } };
  const row = await tx.invitation.findFirst({ where: open });
  const served = await tx.tenant.count({ where: { status: { in: [...SERVED_STATUSES] } } });
  if (!row || served === 0) throw noSuchInvitation();
  return row;
}

const noSuchInvitation = (): BulkheadError => new BulkheadError('NOT_FOUND', { field: 'token' });

/** Invitations that can still be accepted, newest first; at most 200. `workspaceId`: only those to that workspace. */
export async function listInvitations(db: TenantDb, workspaceId: string | undefined): Promise<Invitation[]> {
  const where = {
    acceptedAt: null,
    revokedAt: null,
    expiresAt: { gt: new Date() },
    ...(workspaceId === undefined ? {} : { workspaceId }),
  };
  const rows = await db.run((tx) =>
    tx.invitation.findMany({ where, orderBy: { createdAt: 'desc' }, take: 200 }),
  );
  return rows.map(invitationOf);
}

/** Withdraws an invitation. @throws BulkheadError NOT_FOUND when it cannot be accepted any more, or never existed. */
export async function revokeInvitation(
  db: TenantDb,
  withdrawn: { readonly id: string; readonly by: By; readonly workspaceId: string | undefined },
): Promise<Invitation> {
  const { id, by, workspaceId } = withdrawn;
  return db.run(async (tx) => {
    const [row] = await tx.invitation.updateManyAndReturn({
      where: { id, acceptedAt: null, revokedAt: null, ...(workspaceId === undefined ? {} : { workspaceId }) },
      data: { revokedAt: new Date() },
    });
    if (!row) throw new BulkheadError('NOT_FOUND', { field: 'id' });
    await note(tx, by, 'invitation_revoked', { invitation: id });
    return invitationOf(row);
  });
}

function invitationOf(row: Prisma.InvitationGetPayload<object>): Invitation {
  return {
    id: row.id,
    role: row.role,
    workspaceId: (row.workspaceId ?? undefined) as WorkspaceId | undefined,
    email: row.email ?? undefined,
    createdBy: row.createdBy,
    createdAt: row.createdAt,
    expiresAt: row.expiresAt,
  };
}

const hashOf = (token: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(createHash('sha256').update(token).digest());
