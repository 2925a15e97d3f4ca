import { subject } from '@casl/ability';
import { accessibleBy, createPrismaAbility } from '@casl/prisma/runtime';
import { BoundedMap, BulkheadError } from '@bulkhead/contract';
import type { Prisma } from '@bulkhead/prisma/tenant';
import type { Role } from '@bulkhead/tenancy/admin';
import { PERMISSIONS, reachOf, TENANT_WIDE } from './roles.js';
import type { Permission } from './roles.js';

/** Which rows a noun of the permission table names. Nouns that are not here have no rows to filter. */
const MODEL_OF = {
  workspace: 'Workspace',
  agent: 'Agent',
  run: 'Run',
  approval: 'Approval',
  member: 'Member',
  key: 'ApiKey',
} as const;
type Noun = keyof typeof MODEL_OF;

/** Prisma's filter for the rows of a noun. */
interface WhereOf {
  workspace: Prisma.WorkspaceWhereInput;
  agent: Prisma.AgentWhereInput;
  run: Prisma.RunWhereInput;
  approval: Prisma.ApprovalWhereInput;
  member: Prisma.MemberWhereInput;
  key: Prisma.ApiKeyWhereInput;
}
type NounOf<P extends Permission> = P extends `${infer N extends Noun}:${string}` ? N : never;
/** Permissions about rows that can be filtered. */
export type RowPermission = Extract<Permission, `${Noun}:${string}`>;

/** What one caller may do, from one set of CASL rules: the check of a single thing and the filter of a list are the same. */
export interface Access {
  /** Whether the caller may do this at all; for a single row ask `covers`. */
  can(permission: Permission): boolean;
  /** Everything that the caller may do, and how far: `own` for things that they answer for. */
  reach(permission: Permission): 'all' | 'own' | undefined;
  /** Whether this very row is within the caller's reach. */
  covers<P extends RowPermission>(permission: P, row: object): boolean;
  /** The same rules as a filter. A caller without the permission matches nothing. */
  where<P extends RowPermission>(permission: P): WhereOf[NounOf<P>];
  /** The same rules as a list of workspaces, for lists that are read without Prisma; undefined: all of the tenant's. */
  workspaces(permission: RowPermission): readonly string[] | undefined;
}

interface Holding {
  readonly role: Role | 'platform';
  /** Only these permissions of the role; undefined: all of them. */
  readonly subset?: readonly string[] | undefined;
  /** A second role that bounds the first: what both have. */
  readonly bound?: Role | undefined;
  readonly workspaceId?: string | undefined;
  /** Who answers for the caller; what `own` means. */
  readonly responsible: string;
}

/** Making the rules costs more than asking them, and callers of one kind share them. */
const MADE_MAX = 1_000;
const made = new BoundedMap<string, Access>(MADE_MAX);

export function accessOf(holding: Holding): Access {
  const key = JSON.stringify(holding);
  const before = made.get(key);
  if (before) return before;
  const access = makeAccess(holding);
  made.set(key, access);
  return access;
}

/** What CASL gives where there is no rule, `{ OR: [] }`, matches every row once it stands inside an AND. */
const NOTHING = { tenantId: { in: [] } };

function makeAccess(holding: Holding): Access {
  const ability = createPrismaAbility(
    PERMISSIONS.flatMap((permission) => {
      const conditions = conditionsOf(holding, permission);
      return conditions === undefined ? [] : [{ ...split(permission), conditions }];
    }),
  );
  return {
    can(permission) {
      const { action, subject: name } = split(permission);
      return ability.can(action, name);
    },
    reach(permission) {
      const conditions = conditionsOf(holding, permission);
      if (conditions === undefined) return undefined;
      return 'owner' in conditions ? 'own' : 'all';
    },
    covers(permission, row) {
      const { action, subject: name } = split(permission);
      return ability.can(action, subject(name, { ...row }) as unknown as string);
    },
    where<P extends RowPermission>(permission: P) {
      const { action, subject: name } = split(permission);
      // an AND of its own, so that a filter of the list itself cannot widen it
      const filter = ability.can(action, name) ? accessibleBy(ability, action).ofType(name) : NOTHING;
      return { AND: [filter as object] } as WhereOf[NounOf<P>];
    },
    workspaces(permission) {
      const { action, subject: name } = split(permission);
      const within = ability.rulesFor(action, name).map((rule) => onlyWorkspace(rule.conditions));
      return within.includes(undefined) ? undefined : within.flatMap((id) => id ?? []);
    },
  };
}

/** undefined: no condition. @throws BulkheadError INTERNAL for a rule that says more than a workspace: it must not be lost. */
function onlyWorkspace(conditions: object | undefined): string | undefined {
  const { workspaceId, ...more } = (conditions ?? {}) as { workspaceId?: unknown };
  if (Object.keys(more).length > 0 || (workspaceId !== undefined && typeof workspaceId !== 'string')) {
    throw new BulkheadError('INTERNAL', { internal: 'a rule is about more than a workspace' });
  }
  return workspaceId;
}

/** undefined: not granted. There are no `cannot` rules, so no order of rules can open what another closes. */
function conditionsOf(holding: Holding, permission: Permission): object | undefined {
  const { role, subset, bound, workspaceId, responsible } = holding;
  const reach = [reachOf(role, permission), bound === undefined ? 'all' : reachOf(bound, permission)];
  if (reach.includes(undefined) || (subset && !subset.includes(permission))) return undefined;
  if (workspaceId !== undefined && TENANT_WIDE.includes(permission)) return undefined;
  return {
    ...(reach.includes('own') ? { owner: responsible } : {}),
    ...(workspaceId === undefined ? {} : withinWorkspace(permission, workspaceId)),
  };
}

function withinWorkspace(permission: Permission, workspaceId: string): object {
  const [noun = ''] = permission.split(':');
  if (!Object.hasOwn(MODEL_OF, noun)) return {};
  return noun === 'workspace' ? { id: workspaceId } : { workspaceId };
}

function split(permission: Permission): { action: string; subject: string } {
  const [noun = '', action = ''] = permission.split(':');
  return { action, subject: Object.hasOwn(MODEL_OF, noun) ? MODEL_OF[noun as Noun] : noun };
}
