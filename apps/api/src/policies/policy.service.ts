import { Inject, Injectable } from '@nestjs/common';
import { BulkheadError, buildRunId, parseRunId, toolId } from '@bulkhead/contract';
import type { Json, RunId, ToolId } from '@bulkhead/contract';
import type { PolicyMode } from '@bulkhead/contract/policy';
import {
  diffPolicies,
  discardDraft,
  explainCall,
  findDraft,
  listDrafts,
  listPolicies,
  policyHistory,
  policyVersion,
  publishDraft,
  saveDraft,
  setPolicyMode,
} from '@bulkhead/policy/admin';
import type { PolicyDiff, PolicyDraft, PolicyVersion } from '@bulkhead/policy/admin';
import type { TenantDb } from '@bulkhead/prisma/tenant';
import { describeCall } from '@bulkhead/tool-gateway/admin';
import type { z } from 'zod';
import type { Principal } from '../auth/principal.js';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';
import { findAgent } from './find-agent.js';
import type { ExplainCall, PublishPolicyDraft, SavePolicyDraft } from './policy.input.js';
import type { ExplanationModel } from './policy.model.js';

/** Stands for "no run yet" where a call needs one: such a run has read and done nothing. */
const NO_RUN = '0'.repeat(26);

@Injectable()
export class PolicyService {
  constructor(@Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'door'>) {}

  list(principal: Principal): Promise<readonly PolicyVersion[]> {
    return listPolicies(this.db(principal));
  }

  version(principal: Principal, profile: string, version: number | undefined): Promise<PolicyVersion> {
    return policyVersion(this.db(principal), profile, version);
  }

  history(
    principal: Principal,
    profile: string,
    page: { readonly first: number; readonly before: number | undefined },
  ): Promise<readonly PolicyVersion[]> {
    return policyHistory(this.db(principal), profile, page);
  }

  drafts(principal: Principal): Promise<readonly PolicyDraft[]> {
    return listDrafts(this.db(principal));
  }

  /** @throws BulkheadError NOT_FOUND; BAD_INPUT when neither a second version nor a draft is named, or both are. */
  async diff(
    principal: Principal,
    profile: string,
    from: number,
    to: { readonly version: number | undefined; readonly draft: string | undefined },
  ): Promise<PolicyDiff> {
    const db = this.db(principal);
    if ((to.version === undefined) === (to.draft === undefined)) {
      throw new BulkheadError('BAD_INPUT', { field: 'to', publicMessage: 'to: give a version or a draft' });
    }
    const before = await policyVersion(db, profile, from);
    const after =
      to.draft === undefined
        ? await policyVersion(db, profile, to.version)
        : await findDraft(db, profile, to.draft);
    return diffPolicies(before.document, after.document);
  }

  save(principal: Principal, input: z.infer<typeof SavePolicyDraft>): Promise<PolicyDraft> {
    return saveDraft(this.db(principal), { ...input, savedBy: principal.actor });
  }

  discard(principal: Principal, profile: string, name: string): Promise<PolicyDraft> {
    return discardDraft(this.db(principal), profile, name);
  }

  publish(principal: Principal, input: z.infer<typeof PublishPolicyDraft>): Promise<PolicyVersion> {
    const { name: draft, ...rest } = input;
    return publishDraft(this.db(principal), { ...rest, draft, publishedBy: principal.actor });
  }

  setMode(principal: Principal, profile: string, mode: PolicyMode, reason: string): Promise<PolicyVersion> {
    return setPolicyMode(this.db(principal), { profile, mode, reason, publishedBy: principal.actor });
  }

  /** @throws BulkheadError NOT_FOUND for an agent, run, tool, version or draft that is not there; BAD_INPUT */
  async explain(principal: Principal, input: z.infer<typeof ExplainCall>): Promise<ExplanationModel> {
    const db = this.db(principal);
    const agent = await findAgent(db, principal, input.agentId);
    const runId = await this.run(principal, input.runId ?? undefined);
    const tool = idOrNotFound(() => toolId(input.toolId), 'toolId');
    const described = await describeCall(db, tool, input.arguments);
    const { document, version } = await this.documentOf(db, agent.policyProfile, input);
    const past = input.read || input.done ? { read: input.read ?? [], done: input.done ?? [] } : undefined;
    const { actor } = principal;
    const facts = { ...described, agent: agent.id, workspace: agent.workspaceId, actor, runId };
    const why = await explainCall(db, { facts, document, at: input.at ?? new Date(), past });
    return {
      ...shown(why.verdict),
      outcome: why.outcome,
      mode: why.mode,
      settings: why.settings,
      rules: why.rules,
      version,
      toolId: tool,
      facts: why.facts as unknown as Json,
    };
  }

  private async documentOf(
    db: TenantDb,
    profile: string,
    input: z.infer<typeof ExplainCall>,
  ): Promise<{ readonly document: Json; readonly version: number | undefined }> {
    if (input.draft)
      return { document: (await findDraft(db, profile, input.draft)).document, version: undefined };
    return policyVersion(db, profile, input.version ?? undefined);
  }

  private async run(principal: Principal, id: string | undefined): Promise<RunId> {
    const { tenantId } = principal;
    if (id === undefined) return buildRunId(tenantId, NO_RUN);
    const within = principal.where('run:read');
    const row =
      parseRunId(id)?.tenantId === tenantId
        ? await this.db(principal).run((tx) =>
            tx.run.findFirst({ where: { AND: [{ tenantId, id }, within] }, select: { id: true } }),
          )
        : null;
    if (!row) throw new BulkheadError('NOT_FOUND', { field: 'runId' });
    return row.id as RunId;
  }

  private db(principal: Principal): TenantDb {
    return this.deps.door.tenant(principal.tenantId);
  }
}

/** What cannot be an id is an id of nothing. */
function idOrNotFound(parse: () => ToolId, field: string): ToolId {
  try {
    return parse();
  } catch {
    throw new BulkheadError('NOT_FOUND', { field });
  }
}

function shown(
  verdict: Awaited<ReturnType<typeof explainCall>>['verdict'],
): Pick<ExplanationModel, 'rule' | 'message' | 'approvers' | 'limits'> {
  if (verdict.kind === 'deny') return { rule: verdict.rule, message: verdict.message, limits: [] };
  const { rule, observed, approval, limits } = verdict;
  return { rule, message: observed?.message, approvers: approval?.approvers, limits: limits ?? [] };
}
