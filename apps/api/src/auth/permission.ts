import { SetMetadata } from '@nestjs/common';
import type { CustomDecorator } from '@nestjs/common';
import type { Role } from '@bulkhead/tenancy/admin';

/** What a handler needs, as `noun:verb`. */
export type Permission =
  | 'tenant:read'
  | 'agent:read'
  | 'tool:read'
  | 'run:read'
  | 'run:start'
  | 'approval:read'
  | 'approval:decide'
  | 'ui:sign-in';

const READ: readonly Permission[] = ['tenant:read', 'agent:read', 'tool:read', 'run:read', 'approval:read'];
const OPERATE: readonly Permission[] = [...READ, 'run:start', 'approval:decide', 'ui:sign-in'];

/** Who may decide one approval is narrowed further by its policy rule, in the database. */
const ROLE_PERMISSIONS = {
  viewer: READ,
  operator: OPERATE,
  admin: OPERATE,
} as const satisfies Record<Role, readonly Permission[]>;

export const mayDo = (role: Role, permission: Permission): boolean =>
  ROLE_PERMISSIONS[role].includes(permission);

/** Metadata key of a handler's declaration. */
export const DECLARATION = 'bulkhead:permission';

export type Declaration = { readonly needs: Permission } | { readonly publicBecause: string };

/** Each query, mutation, subscription and route carries this or Public, or the API does not boot. */
export const Permission = (needs: Permission): CustomDecorator =>
  SetMetadata(DECLARATION, { needs } satisfies Declaration);

/** A handler that anyone may call without a key, and why that is right. */
export const Public = (publicBecause: string): CustomDecorator =>
  SetMetadata(DECLARATION, { publicBecause } satisfies Declaration);
