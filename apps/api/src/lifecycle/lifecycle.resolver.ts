import { Inject } from '@nestjs/common';
import { Args, ID, Int, Mutation, Parent, ResolveField, Resolver } from '@nestjs/graphql';
import { z } from 'zod';
import type { Lifecycle, Tenant } from '@bulkhead/tenancy/admin';
import { Permission } from '../auth/permission.js';
import { CurrentCaller } from '../auth/principal.js';
import type { Caller } from '../auth/principal.js';
import { READ } from '../graphql/cost.js';
import { SchemaPipe } from '../graphql/schema.pipe.js';
import { TenantModel } from '../tenants/tenant.model.js';
import { LifecycleModel } from './lifecycle.model.js';
import { LifecycleService } from './lifecycle.service.js';

const text = (charactersMax: number) =>
  z
    .string()
    .trim()
    .min(1, `give 1 to ${charactersMax} characters`)
    .max(charactersMax, `give 1 to ${charactersMax} characters`);

const Id = () => Args('id', { type: () => ID });
const Reason = () =>
  Args(
    'reason',
    { type: () => String, description: 'Shown with the tenant and journalled; 1 to 1000 characters.' },
    new SchemaPipe('reason', text(1000)),
  );
const Name = () =>
  Args(
    'name',
    { type: () => String, description: '1 to 100 characters.' },
    new SchemaPipe('name', text(100)),
  );

const DAY_SECONDS = 86_400;
const GRACE_DAYS_MAX = 90;
const Grace = () =>
  Args(
    'graceSeconds',
    {
      type: () => Int,
      defaultValue: 30 * DAY_SECONDS,
      description: 'How long it can be taken back: up to 90 days, 30 unless told.',
    },
    new SchemaPipe(
      'graceSeconds',
      z
        .int()
        .min(0)
        .max(GRACE_DAYS_MAX * DAY_SECONDS),
    ),
  );

@Resolver(() => TenantModel)
export class LifecycleResolver {
  constructor(@Inject(LifecycleService) private readonly lifecycles: LifecycleService) {}

  @Mutation(() => TenantModel, {
    description: 'Makes a tenant, which may do nothing until a policy allows it. Its id is never used again.',
  })
  @Permission('tenant:lifecycle')
  createTenant(
    @CurrentCaller() { actor }: Caller,
    @Id() id: string,
    @Name() name: string,
    @Reason() reason: string,
  ): Promise<Tenant> {
    return this.lifecycles.create(id, name, { actor, reason });
  }

  @Mutation(() => TenantModel, {
    description:
      'Stops the tenant: nothing new is accepted or begun, its Workers stop, its tokens are revoked. Runs keep their place.',
  })
  @Permission('tenant:lifecycle')
  suspendTenant(
    @CurrentCaller() { actor }: Caller,
    @Id() id: string,
    @Reason() reason: string,
  ): Promise<Tenant> {
    return this.lifecycles.order(id, { kind: 'suspend' }, { actor, reason });
  }

  @Mutation(() => TenantModel, { description: 'Lets a suspended tenant go on exactly where it was.' })
  @Permission('tenant:lifecycle')
  resumeTenant(
    @CurrentCaller() { actor }: Caller,
    @Id() id: string,
    @Reason() reason: string,
  ): Promise<Tenant> {
    return this.lifecycles.order(id, { kind: 'resume' }, { actor, reason });
  }

  @Mutation(() => TenantModel, {
    description:
      'Stops the tenant and, when the grace period is over, destroys its keys and deletes its namespace and rows.',
  })
  @Permission('tenant:lifecycle')
  offboardTenant(
    @CurrentCaller() { actor }: Caller,
    @Id() id: string,
    @Reason() reason: string,
    @Grace() graceSeconds: number,
  ): Promise<Tenant> {
    return this.lifecycles.order(id, { kind: 'offboard', graceSeconds }, { actor, reason });
  }

  @Mutation(() => TenantModel, {
    description:
      'Takes an offboarding back while its grace period lasts: the tenant is again what it was before.',
  })
  @Permission('tenant:lifecycle')
  reinstateTenant(
    @CurrentCaller() { actor }: Caller,
    @Id() id: string,
    @Reason() reason: string,
  ): Promise<Tenant> {
    return this.lifecycles.order(id, { kind: 'reinstate' }, { actor, reason });
  }

  @ResolveField('lifecycle', () => LifecycleModel, {
    nullable: true,
    complexity: READ,
    description: 'What is being done to the tenant, or was last.',
  })
  latest(@Parent() tenant: Tenant): Promise<Lifecycle | undefined> {
    return this.lifecycles.latest(tenant.id);
  }
}
