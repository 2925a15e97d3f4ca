import { BulkheadError } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import type { TenantDb } from '@bulkhead/prisma/tenant';
import { readDocument } from './publish.js';

export interface PolicyDraft {
  readonly profile: string;
  readonly name: string;
  readonly revision: number;
  /** The version in force when it was saved; 0: none. */
  readonly baseVersion: number;
  readonly document: Json;
  readonly note: string;
  readonly savedBy: string;
  readonly savedAt: Date;
}

/** Drafts of one tenant at most. */
const DRAFTS_MAX = 100;

/**
 * Saves a draft under its name, new or over the one that is there, for the version in force now.
 * @throws BulkheadError BAD_INPUT with the path of what is wrong; INVALID_STATE when there are too many drafts.
 */
export async function saveDraft(
  db: TenantDb,
  draft: Pick<PolicyDraft, 'profile' | 'name' | 'document' | 'note' | 'savedBy'>,
): Promise<PolicyDraft> {
  const { tenantId } = db;
  const { profile, name, note, savedBy } = draft;
  const document = readDocument(draft.document) as object;
  return db.run(async (tx) => {
    const where = { tenantId_profile_name: { tenantId, profile, name } };
    const head = await tx.policyHead.findUnique({ where: { tenantId_profile: { tenantId, profile } } });
    const fields = { document, note, savedBy, savedAt: new Date(), baseVersion: head?.version ?? 0 };
    if ((await tx.policyDraft.count({ where: { tenantId } })) >= DRAFTS_MAX) {
      const known = await tx.policyDraft.findUnique({ where, select: { name: true } });
      if (!known) {
        throw new BulkheadError('INVALID_STATE', {
          publicMessage: `There are ${DRAFTS_MAX} drafts already.`,
        });
      }
    }
    const saved = await tx.policyDraft.upsert({
      where,
      create: { tenantId, profile, name, ...fields },
      update: { ...fields, revision: { increment: 1 } },
    });
    return view(saved);
  });
}

/** By profile and name. */
export async function listDrafts(db: TenantDb): Promise<readonly PolicyDraft[]> {
  const { tenantId } = db;
  const rows = await db.run((tx) =>
    tx.policyDraft.findMany({
      where: { tenantId },
      orderBy: [{ profile: 'asc' }, { name: 'asc' }],
      take: DRAFTS_MAX,
    }),
  );
  return rows.map(view);
}

/** @throws BulkheadError NOT_FOUND */
export async function findDraft(db: TenantDb, profile: string, name: string): Promise<PolicyDraft> {
  const { tenantId } = db;
  const row = await db.run((tx) =>
    tx.policyDraft.findUnique({ where: { tenantId_profile_name: { tenantId, profile, name } } }),
  );
  if (!row) throw new BulkheadError('NOT_FOUND', { field: 'name' });
  return view(row);
}

/** @throws BulkheadError NOT_FOUND */
export async function discardDraft(db: TenantDb, profile: string, name: string): Promise<PolicyDraft> {
  const draft = await findDraft(db, profile, name);
  const { tenantId } = db;
  await db.run((tx) => tx.policyDraft.deleteMany({ where: { tenantId, profile, name } }));
  return draft;
}

function view(row: Omit<PolicyDraft, 'document'> & { readonly document: unknown }): PolicyDraft {
  const { profile, name, revision, baseVersion, note, savedBy, savedAt } = row;
  return { profile, name, revision, baseVersion, document: row.document as Json, note, savedBy, savedAt };
}
