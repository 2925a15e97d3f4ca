import { Inject } from '@nestjs/common';
import { Args, ID, Int, Mutation, Query, Resolver } from '@nestjs/graphql';
import type { Revocation, RevocationInfo, RevocationScope, SecretInfo } from '@bulkhead/secret-broker/admin';
import { Permission } from '../auth/permission.js';
import { CurrentPrincipal } from '../auth/principal.js';
import type { Principal } from '../auth/principal.js';
import { READ } from '../graphql/cost.js';
import { SchemaPipe } from '../graphql/schema.pipe.js';
import { RequestReason } from '../run-control/run-control.input.js';
import {
  RevocationModel,
  RevocationResultModel,
  RevocationScopeEnum,
  SecretAccessEnum,
  SecretModel,
} from './secret.model.js';
import { SecretService } from './secret.service.js';
import { SecretValueScalar } from './secret-value.scalar.js';

const Name = () => Args('name', { type: () => ID });
const Value = () => Args('value', { type: () => SecretValueScalar });
const Reason = () =>
  Args(
    'reason',
    { type: () => String, description: 'Journalled; 1 to 1000 characters.' },
    new SchemaPipe('reason', RequestReason),
  );
const Purpose = () => Args('purpose', { type: () => String, nullable: true });
const Access = () => Args('access', { type: () => SecretAccessEnum, nullable: true });
const Hosts = () =>
  Args('boundHosts', { type: () => [String], nullable: true, description: 'host or host:port, 1 to 20.' });
const Agents = () =>
  Args('agents', {
    type: () => [String],
    nullable: true,
    description: 'Agents, or `class:<quota class>`; nothing: any.',
  });
const Tools = () =>
  Args('tools', { type: () => [String], nullable: true, description: 'Nothing: any that names it.' });

/** Each argument stands alone: an input object that does not fit is quoted in its error, with all that it holds. */
@Resolver(() => SecretModel)
export class SecretResolver {
  constructor(@Inject(SecretService) private readonly secretService: SecretService) {}

  @Query(() => [SecretModel], { complexity: READ, description: 'By name, at most 500; never their values.' })
  @Permission('secret:read')
  secrets(@CurrentPrincipal() principal: Principal): Promise<readonly SecretInfo[]> {
    return this.secretService.list(principal);
  }

  @Query(() => [RevocationModel], { complexity: READ, description: 'Newest first, at most 200.' })
  @Permission('secret:read')
  secretRevocations(@CurrentPrincipal() principal: Principal): Promise<readonly RevocationInfo[]> {
    return this.secretService.revocations(principal);
  }

  @Mutation(() => SecretModel, { description: 'Stores a secret under a name that is not taken.' })
  @Permission('secret:write')
  createSecret(
    @CurrentPrincipal() principal: Principal,
    @Name() name: string,
    @Value() value: unknown,
    @Args('access', { type: () => SecretAccessEnum }) access: 'read' | 'mutate',
    @Args('boundHosts', { type: () => [String], description: 'host or host:port, 1 to 20.' })
    boundHosts: string[],
    @Reason() reason: string,
    @Purpose() purpose: string | null,
    @Agents() agents: string[] | null,
    @Tools() tools: string[] | null,
  ): Promise<SecretInfo> {
    const rules = { access, boundHosts, purpose, agents, tools };
    return this.secretService.create(principal, { name, value, rules, reason });
  }

  @Mutation(() => SecretModel, {
    description: 'The next version; what is left out stays. Calls under way end with the value they have.',
  })
  @Permission('secret:write')
  rotateSecret(
    @CurrentPrincipal() principal: Principal,
    @Name() name: string,
    @Value() value: unknown,
    @Reason() reason: string,
    @Purpose() purpose: string | null,
    @Access() access: 'read' | 'mutate' | null,
    @Hosts() boundHosts: string[] | null,
    @Agents() agents: string[] | null,
    @Tools() tools: string[] | null,
  ): Promise<SecretInfo> {
    const rules = { access, boundHosts, purpose, agents, tools };
    return this.secretService.rotate(principal, { name, value, rules, reason });
  }

  @Mutation(() => SecretModel, {
    description:
      'Who may use it, for what and where, without the value; what is left out stays. In force for every call that is not admitted yet, also of runs that have a grant. Calls under way end as they began; revokeSecrets breaks them off.',
  })
  @Permission('secret:write')
  changeSecret(
    @CurrentPrincipal() principal: Principal,
    @Name() name: string,
    @Reason() reason: string,
    @Purpose() purpose: string | null,
    @Access() access: 'read' | 'mutate' | null,
    @Hosts() boundHosts: string[] | null,
    @Agents() agents: string[] | null,
    @Tools() tools: string[] | null,
    @Args('anyAgent', { type: () => Boolean, defaultValue: false }) anyAgent: boolean,
    @Args('anyTool', { type: () => Boolean, defaultValue: false }) anyTool: boolean,
  ): Promise<SecretInfo> {
    const rules = { access, boundHosts, purpose, agents, tools };
    return this.secretService.change(principal, { name, rules, reason, anyAgent, anyTool });
  }

  @Mutation(() => RevocationResultModel, {
    description:
      'Takes the use of a secret, of one version, or of all secrets by an agent, a tool or the tenant. Answers when it is in force, or with whom it waits for; `dryRun: true` only counts.',
  })
  @Permission('secret:revoke')
  revokeSecrets(
    @CurrentPrincipal() principal: Principal,
    @Args('scope', { type: () => RevocationScopeEnum }) scope: RevocationScope,
    @Reason() reason: string,
    @Args('secret', { type: () => ID, nullable: true }) secret: string | null,
    @Args('version', { type: () => Int, nullable: true }) version: number | null,
    @Args('target', { type: () => ID, nullable: true, description: 'The agent or tool.' })
    target: string | null,
    @Args('dryRun', { type: () => Boolean, defaultValue: false }) dryRun: boolean,
  ): Promise<Revocation> {
    return this.secretService.revoke(principal, {
      scope,
      reason,
      dryRun,
      secret: secret ?? undefined,
      version: version ?? undefined,
      target: target ?? undefined,
    });
  }

  @Mutation(() => RevocationModel, {
    description: 'Gives back what was taken from an agent, a tool or the tenant; never a revoked value.',
  })
  @Permission('secret:revoke')
  liftRevocation(
    @CurrentPrincipal() principal: Principal,
    @Args('id', { type: () => ID }) id: string,
    @Reason() reason: string,
  ): Promise<RevocationInfo> {
    return this.secretService.lift(principal, id, reason);
  }
}
