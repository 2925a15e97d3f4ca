import { Inject } from '@nestjs/common';
import { Args, Int, Mutation, Query, Resolver } from '@nestjs/graphql';
import type { z } from 'zod';
import type { PolicyMode } from '@bulkhead/contract/policy';
import type { PolicyDiff, PolicyDraft, PolicyVersion } from '@bulkhead/policy/admin';
import { Permission } from '../auth/permission.js';
import { CurrentPrincipal } from '../auth/principal.js';
import type { Principal } from '../auth/principal.js';
import { First } from '../graphql/page.js';
import { SchemaPipe } from '../graphql/schema.pipe.js';
import {
  ExplainCall,
  ExplainCallInput,
  Name,
  OptionalVersion,
  PolicyModeEnum,
  PublishPolicyDraft,
  PublishPolicyDraftInput,
  SavePolicyDraft,
  SavePolicyDraftInput,
  VersionNumber,
  Why,
} from './policy.input.js';
import { ExplanationModel, PolicyDiffModel, PolicyDraftModel, PolicyVersionModel } from './policy.model.js';
import { PolicyService } from './policy.service.js';

const Profile = () => Args('profile', { type: () => String }, new SchemaPipe('profile', Name));
const Version = (name: string, description: string) =>
  Args(name, { type: () => Int, nullable: true, description }, new SchemaPipe(name, OptionalVersion));

@Resolver(() => PolicyVersionModel)
export class PolicyResolver {
  constructor(@Inject(PolicyService) private readonly policies: PolicyService) {}

  @Query(() => [PolicyVersionModel], { name: 'policies', description: 'What is in force, by profile.' })
  @Permission('policy:read')
  list(@CurrentPrincipal() principal: Principal): Promise<readonly PolicyVersion[]> {
    return this.policies.list(principal);
  }

  @Query(() => PolicyVersionModel, { description: 'The version in force unless another is named.' })
  @Permission('policy:read')
  policy(
    @CurrentPrincipal() principal: Principal,
    @Profile() profile: string,
    @Version('version', 'One that was published.') version: number | null,
  ): Promise<PolicyVersion> {
    return this.policies.version(principal, profile, version ?? undefined);
  }

  @Query(() => [PolicyVersionModel], { description: 'Who published what and why, newest first.' })
  @Permission('policy:read')
  policyHistory(
    @CurrentPrincipal() principal: Principal,
    @Profile() profile: string,
    @Args('first', { type: () => Int, defaultValue: 20 }, new SchemaPipe('first', First)) first: number,
    @Version('before', 'Only versions below this one, for the next page.') before: number | null,
  ): Promise<readonly PolicyVersion[]> {
    return this.policies.history(principal, profile, { first, before: before ?? undefined });
  }

  @Query(() => [PolicyDraftModel])
  @Permission('policy:read')
  policyDrafts(@CurrentPrincipal() principal: Principal): Promise<readonly PolicyDraft[]> {
    return this.policies.drafts(principal);
  }

  @Query(() => PolicyDiffModel, { description: 'From one version to another, or to a draft.' })
  @Permission('policy:read')
  policyDiff(
    @CurrentPrincipal() principal: Principal,
    @Profile() profile: string,
    @Args('from', { type: () => Int }, new SchemaPipe('from', VersionNumber)) from: number,
    @Version('to', 'Give this or a draft.') to: number | null,
    @Args('draft', { type: () => String, nullable: true }, new SchemaPipe('draft', Name.nullish()))
    draft: string | null,
  ): Promise<PolicyDiff> {
    return this.policies.diff(principal, profile, from, {
      version: to ?? undefined,
      draft: draft ?? undefined,
    });
  }

  @Query(() => ExplanationModel, {
    description: 'What the policy would say to a call, and which rules had a say.',
  })
  @Permission('policy:read')
  explainCall(
    @CurrentPrincipal() principal: Principal,
    @Args('input', { type: () => ExplainCallInput }, new SchemaPipe('input', ExplainCall))
    input: z.infer<typeof ExplainCall>,
  ): Promise<ExplanationModel> {
    return this.policies.explain(principal, input);
  }

  @Mutation(() => PolicyDraftModel, {
    description:
      'Checks the document and keeps it. An error names the place in it; nothing is in force by this.',
  })
  @Permission('policy:draft')
  savePolicyDraft(
    @CurrentPrincipal() principal: Principal,
    @Args('input', { type: () => SavePolicyDraftInput }, new SchemaPipe('input', SavePolicyDraft))
    input: z.infer<typeof SavePolicyDraft>,
  ): Promise<PolicyDraft> {
    return this.policies.save(principal, input);
  }

  @Mutation(() => PolicyDraftModel, { description: 'Answers with what was thrown away.' })
  @Permission('policy:draft')
  discardPolicyDraft(
    @CurrentPrincipal() principal: Principal,
    @Profile() profile: string,
    @Args('name', { type: () => String }, new SchemaPipe('name', Name)) name: string,
  ): Promise<PolicyDraft> {
    return this.policies.discard(principal, profile, name);
  }

  @Mutation(() => PolicyVersionModel, {
    description: 'In force for every call that is not admitted yet, also of runs under way.',
  })
  @Permission('policy:publish')
  publishPolicyDraft(
    @CurrentPrincipal() principal: Principal,
    @Args('input', { type: () => PublishPolicyDraftInput }, new SchemaPipe('input', PublishPolicyDraft))
    input: z.infer<typeof PublishPolicyDraft>,
  ): Promise<PolicyVersion> {
    return this.policies.publish(principal, input);
  }

  @Mutation(() => PolicyVersionModel, {
    description: 'Publishes the rules in force under another mode, as a version of its own.',
  })
  @Permission('policy:publish')
  setPolicyMode(
    @CurrentPrincipal() principal: Principal,
    @Profile() profile: string,
    @Args('mode', { type: () => PolicyModeEnum }) mode: PolicyMode,
    @Args('reason', { type: () => String }, new SchemaPipe('reason', Why)) reason: string,
  ): Promise<PolicyVersion> {
    return this.policies.setMode(principal, profile, mode, reason);
  }
}
