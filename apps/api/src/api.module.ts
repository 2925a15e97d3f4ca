import { Global, Module } from '@nestjs/common';
import type { DynamicModule, Type } from '@nestjs/common';
import { APP_FILTER, APP_GUARD, DiscoveryModule } from '@nestjs/core';
import { GraphQLModule } from '@nestjs/graphql';
import { ApprovalModule } from './approvals/approval.module.js';
import { AccessFeed } from './auth/access-feed.js';
import { AuditModule } from './audit/audit.module.js';
import { AUTHENTICATE } from './auth/auth.tokens.js';
import { createAuthenticator } from './auth/authenticator.js';
import { PermissionCheck } from './auth/permission-check.js';
import { PermissionGuard } from './auth/permission.guard.js';
import { ControlModule } from './control/control.module.js';
import { API_DEPS } from './deps.js';
import type { ApiDeps } from './deps.js';
import { GraphiqlController } from './graphiql/graphiql.controller.js';
import { graphqlOptions } from './graphql/options.js';
import { PublicErrorsFilter } from './graphql/public-errors.filter.js';
import { HealthController } from './health/health.controller.js';
import { LifecycleModule } from './lifecycle/lifecycle.module.js';
import { PolicyModule } from './policies/policy.module.js';
import { QuotaModule } from './quotas/quota.module.js';
import { RunControlModule } from './run-control/run-control.module.js';
import { KeyModule } from './keys/key.module.js';
import { MemberModule } from './members/member.module.js';
import { RunModule } from './runs/run.module.js';
import { SecretModule } from './secrets/secret.module.js';
import { SignInModule } from './sign-in/sign-in.module.js';
import { TemporalUiModule } from './temporal-ui/temporal-ui.module.js';
import { TenantKeyModule } from './tenant-keys/tenant-key.module.js';
import { TenantModule } from './tenants/tenant.module.js';
import { ToolModule } from './tools/tool.module.js';
import { WatchModule } from './watch/watch.module.js';
import { WorkspaceModule } from './workspaces/workspace.module.js';

const FEATURES: readonly Type[] = [
  TenantModule,
  TenantKeyModule,
  WorkspaceModule,
  MemberModule,
  AuditModule,
  KeyModule,
  LifecycleModule,
  QuotaModule,
  RunModule,
  RunControlModule,
  ControlModule,
  SecretModule,
  ApprovalModule,
  PolicyModule,
  ToolModule,
  SignInModule,
  TemporalUiModule,
];

/** The whole API over what compose.ts gives it. */
@Global()
@Module({})
export class ApiModule {
  static over(deps: ApiDeps, features: readonly Type[] = FEATURES): DynamicModule {
    return {
      module: ApiModule,
      imports: [
        DiscoveryModule,
        GraphQLModule.forRoot(graphqlOptions(deps.log, deps.settings.introspection)),
        WatchModule,
        ...features,
      ],
      controllers: [HealthController, GraphiqlController],
      providers: [
        { provide: API_DEPS, useValue: deps },
        { provide: AUTHENTICATE, useValue: createAuthenticator(deps.control, deps.identify) },
        { provide: APP_GUARD, useClass: PermissionGuard },
        { provide: APP_FILTER, useClass: PublicErrorsFilter },
        PermissionCheck,
        AccessFeed,
      ],
      exports: [API_DEPS, AUTHENTICATE, AccessFeed],
    };
  }
}
