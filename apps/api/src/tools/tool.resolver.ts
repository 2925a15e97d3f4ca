import { Inject } from '@nestjs/common';
import { Query, Resolver } from '@nestjs/graphql';
import { Permission } from '../auth/permission.js';
import { CurrentPrincipal } from '../auth/principal.js';
import type { Principal } from '../auth/principal.js';
import type { ToolInfo as ToolInfoView } from '@bulkhead/tool-gateway/admin';
import { ToolModel } from './tool.model.js';
import { ToolService } from './tool.service.js';

@Resolver(() => ToolModel)
export class ToolResolver {
  constructor(@Inject(ToolService) private readonly service: ToolService) {}

  @Query(() => [ToolModel])
  @Permission('tool:read')
  tools(@CurrentPrincipal() principal: Principal): Promise<readonly ToolInfoView[]> {
    return this.service.list(principal.tenantId);
  }
}
