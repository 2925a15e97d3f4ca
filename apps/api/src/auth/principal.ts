import { createParamDecorator } from '@nestjs/common';
import type { ExecutionContext } from '@nestjs/common';
import { GqlExecutionContext } from '@nestjs/graphql';
import { BulkheadError } from '@bulkhead/contract';
import type { TenantId, WorkspaceId } from '@bulkhead/contract';
import type { Role, Standing } from '@bulkhead/tenancy/admin';
import type { Access } from './access.js';
import type { Identity } from './issuers.js';
import type { Permission } from './roles.js';

/** A member of one tenant, or an API key of one: whoever works with a tenant's things. */
export interface Principal extends Access {
  readonly kind: 'member';
  readonly tenantId: TenantId;
  /** `key:<prefix>` or `user:<id>`; what the journal says. */
  readonly actor: string;
  /** Who answers for it: the person behind a key, or the first of a chain of keys. Two keys of one person are one here. */
  readonly responsible: string;
  /** What the person behind it had when they were let in; undefined for keys of no person. */
  readonly standing?: Standing;
  readonly role: Role;
  /** Limited to this workspace; undefined: all of the tenant's. */
  readonly workspaceId: WorkspaceId | undefined;
  /** When the proof ends; undefined: it has no end of its own. */
  readonly expiresAt: Date | undefined;
  /** Who it is, when a token of an issuer proved it; an API key is nobody in person. */
  readonly identity?: Identity;
  /** All tenants of that person. */
  readonly memberships?: readonly Membership[];
}

export interface Membership {
  readonly tenantId: TenantId;
  readonly role: Role;
  readonly workspaceId: WorkspaceId | undefined;
}

/** A person who is no member of a tenant, or of several and has not said which, or whose only tenant is not served. */
export interface Person {
  readonly kind: 'person';
  /** `user:<id>` */
  readonly actor: string;
  readonly identity: Identity;
  readonly memberships: readonly Membership[];
  /** Why this person is nobody's member now, where that is not their own choice. */
  readonly refused?: 'TENANT_SUSPENDED';
  readonly expiresAt: Date;
  can(permission: Permission): false;
}

/** An operator of the platform: a member of no tenant. */
export interface PlatformOperator {
  readonly kind: 'platform';
  /** `operator:<prefix or id>` */
  readonly actor: string;
  readonly role: 'platform';
  readonly expiresAt: Date | undefined;
  can(permission: Permission): boolean;
}

export type Caller = Principal | Person | PlatformOperator;

/** What a request says about who sends it. */
export interface Credentials {
  /** `Bearer <key or token>` from the header or from the connection parameters. */
  readonly authorization: string | undefined;
  /** Which of their tenants a person means: `x-bulkhead-tenant`, likewise. It selects and gives nothing. */
  readonly tenant: string | undefined;
}

/** GraphQL context of one request or one subscription. */
export interface RequestContext extends Credentials {
  /** Set by the guard; a request with many fields is authenticated once. */
  caller?: Promise<Caller>;
  /** A mutation's field was carried out with that caller: the next one asks who it is anew. */
  changed?: boolean;
  /** Which operation of the document is asked; undefined: it has one. */
  readonly operationName?: string | undefined;
}

function callerOf(context: ExecutionContext): Promise<Caller> {
  const { caller } = GqlExecutionContext.create(context).getContext<RequestContext>();
  if (!caller) throw new BulkheadError('INTERNAL', { internal: 'a handler ran without its guard' });
  return caller;
}

/**
 * The caller as a member of a tenant. The guard has run before, so there is one; it knows the handler's permission and not
 * those of fields below, so a field that shows more than its parent's mutation needs names its own.
 * @throws BulkheadError FORBIDDEN
 */
export const CurrentPrincipal = createParamDecorator(
  async (needs: Permission | undefined, context: ExecutionContext): Promise<Principal> => {
    const principal = asMember(await callerOf(context));
    if (needs !== undefined && !principal.can(needs)) throw refusal(principal);
    return principal;
  },
);

/** The caller, whoever it is: member or operator of the platform. */
export const CurrentCaller = createParamDecorator((_: unknown, context: ExecutionContext): Promise<Caller> =>
  callerOf(context),
);

/** @throws BulkheadError FORBIDDEN for callers who are no member of a tenant. */
export function asMember(caller: Caller): Principal {
  if (caller.kind !== 'member') throw refusal(caller);
  return caller;
}

/** Why a caller may not, as far as they can do something about it. */
export function refusal(caller: Caller): BulkheadError {
  if (caller.kind !== 'person') return new BulkheadError('FORBIDDEN');
  if (caller.refused !== undefined) return new BulkheadError(caller.refused);
  if (caller.memberships.length === 0) {
    return new BulkheadError('FORBIDDEN', { publicMessage: 'You are not a member of any tenant yet.' });
  }
  return new BulkheadError('BAD_INPUT', {
    field: 'x-bulkhead-tenant',
    publicMessage: 'You are a member of several tenants: choose one with the header x-bulkhead-tenant.',
  });
}
