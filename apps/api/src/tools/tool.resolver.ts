import { Inject } from '@nestjs/common';
import { Args, ID, Mutation, Parent, Query, ResolveField, Resolver } from '@nestjs/graphql';
import { z } from 'zod';
import type { Json } from '@bulkhead/contract';
import type { McpImport, ToolInfo as ToolInfoView, ToolVersionInfo } from '@bulkhead/tool-gateway/admin';
import { Permission } from '../auth/permission.js';
import { CurrentPrincipal } from '../auth/principal.js';
import type { Principal } from '../auth/principal.js';
import { READ } from '../graphql/cost.js';
import { JsonScalar } from '../graphql/json.scalar.js';
import { SchemaPipe } from '../graphql/schema.pipe.js';
import { RequestReason } from '../run-control/run-control.input.js';
import { PinInput, SpecInput } from './tool.input.js';
import { AgentToolModel, McpImportModel, ToolModel, ToolVersionModel } from './tool.model.js';
import { ToolService } from './tool.service.js';

const Id = () => Args('id', { type: () => ID }, new SchemaPipe('id', z.string()));
const Spec = () =>
  Args(
    'spec',
    { type: () => JsonScalar, description: 'The declaration; docs/tools.md has its fields.' },
    new SchemaPipe('spec', SpecInput),
  );
const Reason = () =>
  Args(
    'reason',
    { type: () => String, description: 'Kept with the change and journalled; 1 to 1000 characters.' },
    new SchemaPipe('reason', RequestReason),
  );

@Resolver(() => ToolModel)
export class ToolResolver {
  constructor(@Inject(ToolService) private readonly service: ToolService) {}

  @Query(() => [ToolModel])
  @Permission('tool:read')
  tools(@CurrentPrincipal() principal: Principal): Promise<readonly ToolInfoView[]> {
    return this.service.list(principal.tenantId);
  }

  @Query(() => [AgentToolModel], {
    complexity: READ * 2,
    description:
      'What an agent may call: judged by the policy in force, as each call will be. A tool whose calls are all denied is not listed, nor one that is off.',
  })
  @Permission('tool:read')
  agentTools(
    @CurrentPrincipal() principal: Principal,
    @Args('agentId', { type: () => ID }, new SchemaPipe('agentId', z.string().max(200))) agentId: string,
  ): Promise<readonly AgentToolModel[]> {
    return this.service.callable(principal, agentId);
  }

  @Query(() => [McpImportModel], { complexity: READ, description: 'Newest first, at most 50.' })
  @Permission('tool:import')
  mcpImports(@CurrentPrincipal() principal: Principal): Promise<readonly McpImport[]> {
    return this.service.imports(principal.tenantId);
  }

  @Mutation(() => McpImportModel, {
    description:
      'Has a host list what an MCP server offers. What is new becomes a tool that is off, irreversible, never repeated and pinned; what is here and offered otherwise is switched off; nothing is ever switched on.',
  })
  @Permission('tool:import')
  importMcpTools(
    @CurrentPrincipal() principal: Principal,
    @Args(
      'system',
      { type: () => String, description: 'First part of the ids of its tools.' },
      new SchemaPipe('system', z.string().max(60)),
    )
    system: string,
    @Args(
      'server',
      { type: () => JsonScalar, description: '{ url } or { stdio }, as in the declaration of an MCP tool.' },
      new SchemaPipe('server', SpecInput),
    )
    server: Json,
    @Args(
      'credential',
      {
        type: () => JsonScalar,
        nullable: true,
        description:
          '{ secret, slot: { header, prefix } }, for a server that lists for known callers only: a name, never a value. Its tools are called with it, too.',
      },
      new SchemaPipe('credential', SpecInput.nullish()),
    )
    credential: Json | undefined,
    @Reason() reason: string,
  ): Promise<McpImport> {
    return this.service.orderImport(principal, { system, server, credential, reason });
  }

  @Mutation(() => ToolModel, {
    description: 'Declares a new tool. No agent may call it before a policy rule allows that.',
  })
  @Permission('tool:register')
  registerTool(
    @CurrentPrincipal() principal: Principal,
    @Id() id: string,
    @Spec() spec: Json,
    @Reason() reason: string,
  ): Promise<ToolInfoView> {
    return this.service.put(principal, { id, spec, reason, presence: 'absent' });
  }

  @Mutation(() => ToolModel, {
    description:
      'Declares a tool anew: a new version, unless it is the same. Calls decided for the old one are decided again.',
  })
  @Permission('tool:update')
  updateTool(
    @CurrentPrincipal() principal: Principal,
    @Id() id: string,
    @Spec() spec: Json,
    @Reason() reason: string,
  ): Promise<ToolInfoView> {
    return this.service.put(principal, { id, spec, reason, presence: 'present' });
  }

  @Mutation(() => ToolModel)
  @Permission('tool:enable')
  enableTool(
    @CurrentPrincipal() principal: Principal,
    @Id() id: string,
    @Reason() reason: string,
  ): Promise<ToolInfoView> {
    return this.service.setEnabled(principal, { id, reason, enabled: true });
  }

  @Mutation(() => ToolModel, { description: 'From the commit on no call of it begins.' })
  @Permission('tool:disable')
  disableTool(
    @CurrentPrincipal() principal: Principal,
    @Id() id: string,
    @Reason() reason: string,
  ): Promise<ToolInfoView> {
    return this.service.setEnabled(principal, { id, reason, enabled: false });
  }

  @Mutation(() => ToolModel, {
    description: 'Takes what the MCP server offers now as what is approved, and switches the tool on.',
  })
  @Permission('tool:approve')
  approveToolOffer(
    @CurrentPrincipal() principal: Principal,
    @Id() id: string,
    @Args(
      'pin',
      { type: () => String, description: 'Of the offer that you have seen.' },
      new SchemaPipe('pin', PinInput),
    )
    pin: string,
    @Reason() reason: string,
  ): Promise<ToolInfoView> {
    return this.service.approve(principal, { id, pin, reason });
  }

  @ResolveField(() => [ToolVersionModel], {
    complexity: READ,
    description: 'What it was, newest first; at most 100.',
  })
  versions(
    @CurrentPrincipal('tool:read') principal: Principal,
    @Parent() tool: ToolInfoView,
  ): Promise<readonly ToolVersionInfo[]> {
    return this.service.history(principal.tenantId, tool.id);
  }
}
