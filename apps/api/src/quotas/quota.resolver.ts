import { Inject } from '@nestjs/common';
import { Args, Float, ID, Mutation, Query, Resolver } from '@nestjs/graphql';
import { z } from 'zod';
import { LIMIT_MAX } from '@bulkhead/quota/admin';
import type { QuotaLayer, QuotaUsage } from '@bulkhead/quota/admin';
import { Permission } from '../auth/permission.js';
import { CurrentCaller, CurrentPrincipal } from '../auth/principal.js';
import type { Caller, Principal } from '../auth/principal.js';
import { READ } from '../graphql/cost.js';
import { SchemaPipe } from '../graphql/schema.pipe.js';
import { RequestReason } from '../run-control/run-control.input.js';
import { QuotaLayerEnum, QuotaModel } from './quota.model.js';
import { QuotaService } from './quota.service.js';

const BOUNDS = `give a whole number from 0 to ${LIMIT_MAX}`;
const Layer = () => Args('layer', { type: () => QuotaLayerEnum });
const Limit = (description: string) =>
  Args(
    'limit',
    { type: () => Float, nullable: true, description: `0 to ${LIMIT_MAX} a day. ${description}` },
    new SchemaPipe('limit', z.int(BOUNDS).min(0, BOUNDS).max(LIMIT_MAX, BOUNDS).nullish()),
  );
const Reason = () =>
  Args(
    'reason',
    { type: () => String, description: 'Journalled; 1 to 1000 characters.' },
    new SchemaPipe('reason', RequestReason),
  );

@Resolver(() => QuotaModel)
export class QuotaResolver {
  constructor(@Inject(QuotaService) private readonly quotas: QuotaService) {}

  @Query(() => [QuotaModel], { name: 'quotas', complexity: READ, description: 'Of the own tenant, today.' })
  @Permission('quota:read')
  ofOwnTenant(@CurrentPrincipal() { tenantId }: Principal): Promise<readonly QuotaUsage[]> {
    return this.quotas.of(tenantId);
  }

  @Query(() => [QuotaModel], {
    complexity: READ,
    description: 'Of any tenant, today, for operators of the platform.',
  })
  @Permission('quota:grant')
  tenantQuotas(
    @Args('id', { type: () => ID, description: 'The tenant.' }) id: string,
  ): Promise<readonly QuotaUsage[]> {
    return this.quotas.ofAny(id);
  }

  @Mutation(() => QuotaModel, {
    description:
      'What a tenant may use, up or down; it holds from the next call on. A tenant whose own limit is lower keeps that.',
  })
  @Permission('quota:grant')
  grantQuota(
    @CurrentCaller() { actor }: Caller,
    @Args('id', { type: () => ID, description: 'The tenant.' }) id: string,
    @Layer() layer: QuotaLayer,
    @Limit('Nothing: what every tenant has.') limit: number | null | undefined,
    @Reason() reason: string,
  ): Promise<QuotaUsage> {
    return this.quotas.grant(id, { layer, limit: limit ?? undefined, reason, actor });
  }

  @Mutation(() => QuotaModel, {
    description:
      'A limit of the own tenant, at most what the platform granted; it holds from the next call on, whatever is used already.',
  })
  @Permission('quota:set')
  setQuota(
    @CurrentPrincipal('quota:read') { tenantId, actor }: Principal,
    @Layer() layer: QuotaLayer,
    @Limit('Nothing: none of its own.') limit: number | null | undefined,
    @Reason() reason: string,
  ): Promise<QuotaUsage> {
    return this.quotas.set(tenantId, { layer, limit: limit ?? undefined, reason, actor });
  }
}
