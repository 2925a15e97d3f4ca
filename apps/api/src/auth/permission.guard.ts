import { Inject, Injectable } from '@nestjs/common';
import type { CanActivate, ExecutionContext } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { GqlExecutionContext } from '@nestjs/graphql';
import { BulkheadError } from '@bulkhead/contract';
import { AUTHENTICATE } from './auth.tokens.js';
import type { Authenticate } from './authenticator.js';
import { DECLARATION } from './permission.js';
import type { Declaration } from './permission.js';
import { refusal } from './principal.js';
import type { RequestContext } from './principal.js';

/** The fields of a mutation are carried out one after the other, and what one changes, or waits for, the next must see. */
const isChange = (execution: ExecutionContext): boolean =>
  GqlExecutionContext.create(execution).getInfo<{ parentType: { name: string } }>().parentType.name ===
  'Mutation';

/** Identity first, then permission, both before any input is looked at. */
@Injectable()
export class PermissionGuard implements CanActivate {
  constructor(
    @Inject(Reflector) private readonly reflector: Reflector,
    @Inject(AUTHENTICATE) private readonly authenticate: Authenticate,
  ) {}

  async canActivate(execution: ExecutionContext): Promise<boolean> {
    const declared = this.reflector.get<Declaration | undefined>(DECLARATION, execution.getHandler());
    if (!declared)
      throw new BulkheadError('FORBIDDEN', { internal: 'a handler without a declaration was called' });
    if ('publicBecause' in declared) return true;
    const context = GqlExecutionContext.create(execution).getContext<RequestContext>();
    if (context.changed) context.caller = this.authenticate(context);
    context.changed = isChange(execution);
    const caller = await (context.caller ??= this.authenticate(context));
    if ('needs' in declared && !caller.can(declared.needs)) throw refusal(caller);
    return true;
  }
}
