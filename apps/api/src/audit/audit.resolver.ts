import { Inject } from '@nestjs/common';
import { Args, ID, Int, Query, Resolver } from '@nestjs/graphql';
import { listAudit } from '@bulkhead/journal/admin';
import type { AuditEntry } from '@bulkhead/journal/admin';
import { Permission } from '../auth/permission.js';
import { CurrentPrincipal } from '../auth/principal.js';
import type { Principal } from '../auth/principal.js';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';
import { After, First } from '../graphql/page.js';
import { SchemaPipe } from '../graphql/schema.pipe.js';
import { AuditEntryModel, AuditPageModel } from './audit.model.js';

@Resolver(() => AuditEntryModel)
export class AuditResolver {
  constructor(@Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'door'>) {}

  @Query(() => AuditPageModel, { description: 'Newest first.' })
  @Permission('audit:read')
  audit(
    @CurrentPrincipal() principal: Principal,
    @Args('first', { type: () => Int, defaultValue: 20 }, new SchemaPipe('first', First)) first: number,
    @Args('after', { type: () => ID, nullable: true }, new SchemaPipe('after', After)) after: string | null,
  ): Promise<{ readonly nodes: readonly AuditEntry[]; readonly endCursor: string | undefined }> {
    return listAudit(this.deps.door.tenant(principal.tenantId), { first, after: after ?? undefined });
  }
}
