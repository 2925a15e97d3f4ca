import { Inject } from '@nestjs/common';
import { Args, Mutation, Query, Resolver } from '@nestjs/graphql';
import type { z } from 'zod';
import type { Workspace } from '@bulkhead/tenancy/admin';
import { Permission } from '../auth/permission.js';
import { CurrentPrincipal } from '../auth/principal.js';
import type { Principal } from '../auth/principal.js';
import { SchemaPipe } from '../graphql/schema.pipe.js';
import { CreateWorkspace, CreateWorkspaceInput } from './workspace.input.js';
import { WorkspaceModel } from './workspace.model.js';
import { WorkspaceService } from './workspace.service.js';

@Resolver(() => WorkspaceModel)
export class WorkspaceResolver {
  constructor(@Inject(WorkspaceService) private readonly workspaces: WorkspaceService) {}

  @Query(() => [WorkspaceModel], { name: 'workspaces', description: 'Those that the caller may see, by id.' })
  @Permission('workspace:read')
  list(@CurrentPrincipal() principal: Principal): Promise<Workspace[]> {
    return this.workspaces.list(principal);
  }

  @Mutation(() => WorkspaceModel)
  @Permission('workspace:create')
  createWorkspace(
    @CurrentPrincipal() principal: Principal,
    @Args('input', { type: () => CreateWorkspaceInput }, new SchemaPipe('input', CreateWorkspace))
    input: z.infer<typeof CreateWorkspace>,
  ): Promise<Workspace> {
    return this.workspaces.create(principal, input);
  }
}
