import { BulkheadError } from '@bulkhead/contract';
import type { WorkspaceId } from '@bulkhead/contract';
import type { Prisma, TenantDb } from '@bulkhead/prisma/tenant';
import { note } from './changes.js';
import type { By } from './changes.js';

/** A part of a tenant: agents and runs belong to one, and people and keys can be limited to one. */
export interface Workspace {
  readonly id: WorkspaceId;
  readonly name: string;
}

/** Workspaces within reach by id; at most 500. */
export async function listWorkspaces(db: TenantDb, within: Prisma.WorkspaceWhereInput): Promise<Workspace[]> {
  const rows = await db.run((tx) =>
    tx.workspace.findMany({ where: within, orderBy: { id: 'asc' }, take: 500 }),
  );
  return rows.map(({ id, name }) => ({ id: id as WorkspaceId, name }));
}

/** @throws BulkheadError INVALID_STATE when the tenant has a workspace of that id. */
export async function createWorkspace(
  db: TenantDb,
  workspace: { readonly id: WorkspaceId; readonly name: string; readonly by: By },
): Promise<Workspace> {
  const { id, name, by } = workspace;
  return db.run(async (tx) => {
    const { count } = await tx.workspace.createMany({
      data: [{ tenantId: db.tenantId, id, name }],
      skipDuplicates: true,
    });
    if (count === 0) {
      throw new BulkheadError('INVALID_STATE', { publicMessage: 'There is a workspace of this id.' });
    }
    await note(tx, by, 'workspace_created', { workspace: id, after: { name } });
    return { id, name };
  });
}
