import { z } from 'zod';
import { BulkheadError } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import { parsePolicy } from '@bulkhead/contract/policy';
import type { PolicyDocument } from '@bulkhead/contract/policy';
import type { TenantDb } from '@bulkhead/prisma/tenant';

const Published = z.strictObject({ kind: z.literal('published'), version: z.int() });

/**
 * Puts a new version in force for everything that is not admitted yet. A document that does not parse changes nothing:
 * the version before stays in force. @throws BulkheadError BAD_INPUT with the field that is wrong.
 */
export async function publishPolicy(
  db: TenantDb,
  publication: {
    readonly profile: string;
    readonly document: Json;
    readonly publishedBy: string;
    readonly reason: string;
  },
): Promise<{ readonly version: number }> {
  const document = readDocument(publication.document);
  const answer = await db.call('publish_policy', { ...publication, document: document as Json });
  return { version: Published.parse(answer).version };
}

/** The version in force; undefined when there is none under this profile. */
export async function currentPolicy(
  db: TenantDb,
  profile: string,
): Promise<
  { readonly version: number; readonly document: PolicyDocument; readonly publishedBy: string } | undefined
> {
  const { tenantId } = db;
  const row = await db.run(async (tx) => {
    const head = await tx.policyHead.findUnique({ where: { tenantId_profile: { tenantId, profile } } });
    if (!head) return undefined;
    const { version } = head;
    return tx.policy.findUnique({ where: { tenantId_profile_version: { tenantId, profile, version } } });
  });
  if (!row) return undefined;
  return {
    version: row.version,
    document: readDocument(row.document),
    publishedBy: row.publishedBy,
  };
}

/** @throws BulkheadError BAD_INPUT with the path of what is wrong. */
function readDocument(value: unknown): PolicyDocument {
  const parsed = parsePolicy(value);
  if (parsed.kind === 'document') return parsed.document;
  const [{ path, message }] = parsed.problems;
  throw new BulkheadError('BAD_INPUT', { field: path, publicMessage: `${path}: ${message}` });
}
