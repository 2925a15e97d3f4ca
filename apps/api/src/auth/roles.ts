import type { Role } from '@bulkhead/tenancy/admin';

/**
 * Who may do what: the one table. `own` narrows to things that the caller answers for. A caller who is limited to a
 * workspace has the same permissions for that workspace's things only (access.ts makes the CASL rules), and none of
 * TENANT_WIDE. `platform` is an operator of the platform, who is a member of no tenant and sees no tenant's work.
 */
const WHO_MAY = {
  'tenant:read': ['admin', 'workflow-author', 'operator', 'auditor', 'viewer', 'platform'],
  'quota:read': ['admin', 'workflow-author', 'operator', 'auditor', 'viewer'],
  'quota:set': ['admin'],
  'quota:grant': ['platform'],
  'workspace:read': ['admin', 'workflow-author', 'operator', 'auditor', 'viewer'],
  'workspace:create': ['admin'],
  'agent:read': ['admin', 'workflow-author', 'operator', 'auditor', 'viewer'],
  'tool:read': ['admin', 'workflow-author', 'operator', 'auditor', 'viewer'],
  'tool:register': ['admin'],
  'tool:update': ['admin'],
  'tool:enable': ['admin'],
  'tool:disable': ['admin', 'operator'],
  'tool:approve': ['admin'],
  'tool:import': ['admin'],
  'run:read': ['admin', 'workflow-author', 'operator', 'auditor', 'viewer'],
  'run:start': ['admin', 'workflow-author', 'operator'],
  'run:cancel': ['admin', 'workflow-author', 'operator'],
  'run:signal': ['admin', 'workflow-author', 'operator'],
  'run:terminate': ['admin', 'operator'],
  'run:reset': ['admin', 'operator'],
  'approval:read': ['admin', 'workflow-author', 'operator', 'auditor', 'viewer'],
  // who may decide one approval is narrowed further by its policy rule, in the database
  'approval:decide': ['admin', 'operator'],
  'policy:read': ['admin', 'workflow-author', 'operator', 'auditor'],
  'policy:draft': ['admin'],
  'policy:publish': ['admin'],
  'ui:sign-in': ['admin', 'workflow-author', 'operator', 'auditor', 'platform'],
  'codec:decode': ['admin', 'workflow-author', 'operator', 'auditor'],
  'audit:read': ['admin', 'auditor'],
  'member:read': ['admin', 'auditor'],
  'member:invite': ['admin'],
  'member:change': ['admin'],
  'member:remove': ['admin'],
  'key:read': ['admin', 'auditor', 'workflow-author (own)', 'operator (own)'],
  'key:create': ['admin', 'workflow-author', 'operator'],
  'key:revoke': ['admin', 'workflow-author (own)', 'operator (own)'],
  'secret:read': ['admin', 'workflow-author', 'operator', 'auditor'],
  'secret:write': ['admin'],
  'secret:revoke': ['admin', 'operator'],
  'control:read': ['admin', 'workflow-author', 'operator', 'auditor', 'viewer'],
  'control:stop': ['admin', 'operator'],
  'control:resume': ['admin', 'operator'],
  'tenant-key:read': ['admin', 'auditor'],
  'tenant-key:rotate': ['admin'],
  'tenant:lifecycle': ['platform'],
} as const satisfies Record<`${string}:${string}`, readonly Grantee[]>;

type Holder = Role | 'platform';
type Grantee = Holder | `${Role} (own)`;

/** What a handler needs, as `noun:verb`. */
export type Permission = keyof typeof WHO_MAY;
export const PERMISSIONS = Object.keys(WHO_MAY) as readonly Permission[];

/** They show or change what belongs to no single workspace. */
export const TENANT_WIDE: readonly Permission[] = [
  'quota:read',
  'quota:set',
  'workspace:create',
  'tool:register',
  'tool:update',
  'tool:enable',
  'tool:disable',
  'tool:approve',
  'tool:import',
  'policy:read',
  'policy:draft',
  'policy:publish',
  'ui:sign-in',
  'codec:decode',
  'audit:read',
  'control:read',
  'control:stop',
  'control:resume',
  'secret:read',
  'secret:write',
  'secret:revoke',
  'tenant-key:read',
  'tenant-key:rotate',
];

/** How far a role's permission reaches; undefined: not at all. */
export function reachOf(role: Holder, permission: Permission): 'all' | 'own' | undefined {
  const holders: readonly Grantee[] = WHO_MAY[permission];
  if (holders.includes(role)) return 'all';
  return holders.some((holder) => holder === `${role} (own)`) ? 'own' : undefined;
}

/** Every role that has the permission at all, for the snapshot of handlers. */
export const holdersOf = (permission: Permission): readonly string[] => WHO_MAY[permission];
