import { createParamDecorator } from '@nestjs/common';
import type { ExecutionContext } from '@nestjs/common';
import { GqlExecutionContext } from '@nestjs/graphql';
import type { TenantId } from '@bulkhead/contract';
import { BulkheadError } from '@bulkhead/contract';
import type { Role } from '@bulkhead/tenancy/admin';

/** Who is calling, as their API key proved. */
export interface Principal {
  readonly tenantId: TenantId;
  /** `key:<prefix>` */
  readonly actor: string;
  readonly role: Role;
}

/** GraphQL context of one request or one subscription. */
export interface RequestContext {
  /** `Bearer <key>` from the header or from the connection parameters. */
  readonly authorization: string | undefined;
  /** Set by the guard; a request with many fields is authenticated once. */
  principal?: Promise<Principal>;
}

/** The caller. The guard has run before, so there is one. */
export const CurrentPrincipal = createParamDecorator(
  (_: unknown, context: ExecutionContext): Promise<Principal> => {
    const { principal } = GqlExecutionContext.create(context).getContext<RequestContext>();
    if (!principal) throw new BulkheadError('INTERNAL', { internal: 'a handler ran without its guard' });
    return principal;
  },
);
