import { BulkheadError, canonicalJson } from '@bulkhead/contract';
import type { Json, TenantId } from '@bulkhead/contract';
import type { TenantClient, TenantDb } from '@bulkhead/prisma/tenant';
import { record } from './record.js';
import { badSecret, Rules } from './rules.js';
import type { By, SecretRules } from './rules.js';

/** What is given anew; what is left out stays. null: any agent, any tool. */
export interface RuleChange extends Partial<Pick<SecretRules, 'access' | 'boundHosts' | 'purpose'>> {
  readonly agents?: readonly string[] | null | undefined;
  readonly tools?: readonly string[] | null | undefined;
}

/**
 * Changes for whom, for what and for which hosts a secret may be used; its value stays. Each later admit asks the new
 * rules, also of runs that hold a grant: what they no longer cover is denied. What has been admitted ends as it began
 * (revoking is what breaks calls off). The same rules again change nothing.
 * @throws BulkheadError NOT_FOUND; BAD_INPUT with the field.
 */
export async function changeSecret(
  db: TenantDb,
  name: string,
  change: RuleChange,
  by: By,
): Promise<{ readonly rulesVersion: number }> {
  const { tenantId } = db;
  return db.change(async (tx) => {
    const { rulesVersion, ...before } = await storedRules(tx, tenantId, name);
    const after = checkedRules({ ...before, ...defined(change) });
    const changed = FIELDS.filter((field) => canonicalJson(before[field]) !== canonicalJson(after[field]));
    if (changed.length === 0) return { rulesVersion };
    const { access, purpose, boundHosts, agents, tools } = after;
    await tx.$executeRaw`UPDATE secrets SET access = ${access}, purpose = ${purpose}, bound_hosts = ${boundHosts}::text[],
        agents = ${agents}::text[], tools = ${tools}::text[], rules_version = ${rulesVersion + 1}
      WHERE tenant_id = ${tenantId} AND name = ${name}`;
    const only = (rules: RuleSet): { [field: string]: Json } =>
      Object.fromEntries(changed.map((field) => [field, rules[field] as Json]));
    await record(tx, tenantId, {
      change: 'secret_changed',
      secret: name,
      rulesVersion: rulesVersion + 1,
      before: only(before),
      after: only(after),
      by: by.actor,
      reason: by.reason,
    });
    return { rulesVersion: rulesVersion + 1 };
  });
}

/** The rules as they stand in this transaction. @throws BulkheadError NOT_FOUND */
export async function storedRules(tx: TenantClient, tenantId: TenantId, name: string): Promise<Row> {
  const [row] = await tx.$queryRaw<Row[]>`
    SELECT access, purpose, bound_hosts AS "boundHosts", agents, tools, rules_version AS "rulesVersion"
      FROM secrets WHERE tenant_id = ${tenantId} AND name = ${name}`;
  if (!row) throw new BulkheadError('NOT_FOUND', { field: 'name' });
  return row;
}

const FIELDS = ['access', 'purpose', 'boundHosts', 'agents', 'tools'] as const;

export interface RuleSet {
  readonly access: string;
  readonly purpose: string;
  readonly boundHosts: string[];
  readonly agents: string[] | null;
  readonly tools: string[] | null;
}
interface Row extends RuleSet {
  readonly rulesVersion: number;
}

const defined = (change: RuleChange): Partial<RuleSet> =>
  Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));

function checkedRules({ agents, tools, ...rest }: { readonly [F in keyof RuleSet]: unknown }): RuleSet {
  const parsed = Rules.safeParse({
    ...rest,
    ...(agents === null ? {} : { agents }),
    ...(tools === null ? {} : { tools }),
  });
  if (!parsed.success) throw badSecret(parsed.error);
  return { ...parsed.data, agents: parsed.data.agents ?? null, tools: parsed.data.tools ?? null };
}
