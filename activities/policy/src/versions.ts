import { BulkheadError } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import { readSettings } from '@bulkhead/contract/policy';
import type { PolicySettings } from '@bulkhead/contract/policy';
import type { TenantClient, TenantDb } from '@bulkhead/prisma/tenant';

/** One published version, who put it in force and why. */
export interface PolicyVersion {
  readonly profile: string;
  readonly version: number;
  readonly inForce: boolean;
  /** As published; one that a newer platform wrote may not be readable here. */
  readonly document: Json;
  readonly mode: string;
  /** undefined: they cannot be read here. */
  readonly settings: PolicySettings | undefined;
  readonly publishedBy: string;
  readonly publishedAt: Date;
  readonly reason: string;
}

/** What is in force under each profile. A tenant has as many profiles as its agents name: few. */
export function listPolicies(db: TenantDb): Promise<readonly PolicyVersion[]> {
  const { tenantId } = db;
  return db.run(async (tx) => {
    const heads = await tx.policyHead.findMany({
      where: { tenantId },
      orderBy: { profile: 'asc' },
      take: 200,
    });
    const found = await Promise.all(
      heads.map(({ profile, version }) => find(tx, tenantId, profile, version)),
    );
    return found.filter((row) => row !== undefined).map((row) => ({ ...row, inForce: true }));
  });
}

/** One version, the one in force unless told. @throws BulkheadError NOT_FOUND */
export async function policyVersion(db: TenantDb, profile: string, version?: number): Promise<PolicyVersion> {
  const { tenantId } = db;
  const row = await db.run(async (tx) => {
    const head = await tx.policyHead.findUnique({ where: { tenantId_profile: { tenantId, profile } } });
    const wanted = version ?? head?.version;
    const found = wanted === undefined ? undefined : await find(tx, tenantId, profile, wanted);
    return found && { ...found, inForce: found.version === head?.version };
  });
  if (!row) throw new BulkheadError('NOT_FOUND', { field: version === undefined ? 'profile' : 'version' });
  return row;
}

/** Versions of a profile, newest first. @param before only versions below this one */
export async function policyHistory(
  db: TenantDb,
  profile: string,
  page: { readonly first: number; readonly before?: number | undefined },
): Promise<readonly PolicyVersion[]> {
  const { tenantId } = db;
  const first = Math.min(Math.max(page.first, 1), 100);
  return db.run(async (tx) => {
    const head = await tx.policyHead.findUnique({ where: { tenantId_profile: { tenantId, profile } } });
    const rows = await tx.policy.findMany({
      where: { tenantId, profile, ...(page.before === undefined ? {} : { version: { lt: page.before } }) },
      orderBy: { version: 'desc' },
      take: first,
    });
    return rows.map((row) => ({ ...view(row), inForce: row.version === head?.version }));
  });
}

type Row = NonNullable<Awaited<ReturnType<TenantClient['policy']['findUnique']>>>;

async function find(
  tx: TenantClient,
  tenantId: string,
  profile: string,
  version: number,
): Promise<Omit<PolicyVersion, 'inForce'> | undefined> {
  const row = await tx.policy.findUnique({
    where: { tenantId_profile_version: { tenantId, profile, version } },
  });
  return row ? view(row) : undefined;
}

function view(row: Row): Omit<PolicyVersion, 'inForce'> {
  const { profile, version, publishedBy, publishedAt, reason } = row;
  const document = row.document as Json;
  const mode = (document as { mode?: unknown } | null)?.mode;
  return {
    profile,
    version,
    document,
    mode: typeof mode === 'string' ? mode : 'enforce',
    settings: readSettings(document),
    publishedBy,
    publishedAt,
    reason,
  };
}
