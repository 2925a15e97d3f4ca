import { z } from 'zod';
import { BulkheadError } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import { parsePolicy } from '@bulkhead/contract/policy';
import type { PolicyDocument, PolicyMode } from '@bulkhead/contract/policy';
import type { TenantDb } from '@bulkhead/prisma/tenant';
import { policyVersion } from './versions.js';
import type { PolicyVersion } from './versions.js';

const Published = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('published'), version: z.int() }),
  z.strictObject({ kind: z.literal('moved'), version: z.int() }),
  z.strictObject({ kind: z.literal('frozen') }),
  z.strictObject({ kind: z.literal('tenant_frozen') }),
  z.strictObject({ kind: z.literal('no_draft') }),
]);

interface Publication {
  readonly profile: string;
  readonly publishedBy: string;
  readonly reason: string;
}

/**
 * Puts a new version in force for everything that is not admitted yet. A document that does not parse changes nothing:
 * the version before stays in force. @throws BulkheadError BAD_INPUT with the field that is wrong; INVALID_STATE when the
 * policy or the whole tenant is frozen and the document does more than add deny and ask rules.
 */
export async function publishPolicy(
  db: TenantDb,
  { document, ...publication }: Publication & { readonly document: Json },
): Promise<{ readonly version: number }> {
  return publish(db, { ...publication, document: readDocument(document) as Json });
}

/**
 * Publishes one revision of a draft, and ends the draft. @throws BulkheadError NOT_FOUND; INVALID_STATE when the draft or
 * the policy in force is not what the caller read, or the policy is frozen.
 */
export async function publishDraft(
  db: TenantDb,
  publication: Publication & { readonly draft: string; readonly revision: number },
): Promise<PolicyVersion> {
  const { profile, draft: name } = publication;
  const { tenantId } = db;
  const row = await db.run((tx) =>
    tx.policyDraft.findUnique({ where: { tenantId_profile_name: { tenantId, profile, name } } }),
  );
  if (!row) throw new BulkheadError('NOT_FOUND', { field: 'name' });
  if (row.revision !== publication.revision) throw changedDraft();
  const document = readDocument(row.document) as Json;
  const { version } = await publish(db, { ...publication, document, baseVersion: row.baseVersion });
  return policyVersion(db, profile, version);
}

/** Publishes the rules in force under another mode. @throws BulkheadError NOT_FOUND, INVALID_STATE when they moved meanwhile. */
export async function setPolicyMode(
  db: TenantDb,
  { mode, ...publication }: Publication & { readonly mode: PolicyMode },
): Promise<PolicyVersion> {
  const current = await policyVersion(db, publication.profile);
  const document = { ...readDocument(current.document), mode } as Json;
  const { version } = await publish(db, {
    ...publication,
    document,
    baseVersion: current.version,
    unfreeze: true,
  });
  return policyVersion(db, publication.profile, version);
}

async function publish(
  db: TenantDb,
  argument: Publication & {
    readonly document: Json;
    readonly baseVersion?: number;
    readonly draft?: string;
    readonly revision?: number;
    readonly unfreeze?: boolean;
  },
): Promise<{ readonly version: number }> {
  const answer = Published.parse(await db.call('publish_policy', { ...argument }));
  switch (answer.kind) {
    case 'published':
      return { version: answer.version };
    case 'moved':
      throw new BulkheadError('INVALID_STATE', {
        publicMessage: `Version ${answer.version} is in force now, and this was written for another. Save the draft again to look at both.`,
      });
    case 'frozen':
      throw new BulkheadError('INVALID_STATE', {
        publicMessage:
          'The policy is frozen: only deny and ask rules may be added, and nothing else changed.',
      });
    case 'tenant_frozen':
      throw new BulkheadError('INVALID_STATE', {
        publicMessage:
          'The tenant is frozen: only deny and ask rules may be added to a policy until the freeze is lifted.',
      });
    case 'no_draft':
      throw changedDraft();
  }
}

const changedDraft = (): BulkheadError =>
  new BulkheadError('INVALID_STATE', { publicMessage: 'The draft has changed since it was read.' });

/** @throws BulkheadError BAD_INPUT with the path of what is wrong. */
export function readDocument(value: unknown): PolicyDocument {
  const parsed = parsePolicy(value);
  if (parsed.kind === 'document') return parsed.document;
  const [{ path, message }] = parsed.problems;
  throw new BulkheadError('BAD_INPUT', { field: path, publicMessage: `${path}: ${message}` });
}

/** The row in force under a profile, as it is stored. */
export function policyInForce(db: TenantDb, profile: string) {
  const { tenantId } = db;
  return db.run(async (tx) => {
    const head = await tx.policyHead.findUnique({ where: { tenantId_profile: { tenantId, profile } } });
    if (!head) return undefined;
    const { version } = head;
    return tx.policy.findUnique({ where: { tenantId_profile_version: { tenantId, profile, version } } });
  });
}

/** The version in force; undefined when there is none under this profile. */
export async function currentPolicy(
  db: TenantDb,
  profile: string,
): Promise<
  { readonly version: number; readonly document: PolicyDocument; readonly publishedBy: string } | undefined
> {
  const row = await policyInForce(db, profile);
  if (!row) return undefined;
  return { version: row.version, document: readDocument(row.document), publishedBy: row.publishedBy };
}
