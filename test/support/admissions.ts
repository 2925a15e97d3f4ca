import { agentId, buildRunId, workspaceId } from '@bulkhead/contract';
import type { CallKey, RunId, TenantId, ToolId } from '@bulkhead/contract';
import { createJournal } from '@bulkhead/journal/line';
import type { Admission } from '@bulkhead/journal/line';
import { createPolicy } from '@bulkhead/policy/line';
import type { TenantDoor } from '@bulkhead/prisma/tenant';

const TOOL = 'desk.update' as ToolId;
const FACTS = {
  tool: TOOL,
  system: 'desk',
  effect: 'write',
  destination: { host: 'desk.example', path: '/' },
  dataClasses: [],
  args: {},
  agent: agentId('tester'),
  workspace: workspaceId('main'),
  actor: 'key:test0000',
} as const;

/**
 * FAKE: a ledger that admits whatever it is asked, with version 1 of the secret. The tickets are genuine: the real policy and the real
 * journal make them from its answers.
 */
export function admittingJournal(): {
  admit(tenantId: TenantId, secretName: string): Promise<Admission>;
} {
  const document = { rules: [{ id: 'all', effect: 'allow', tools: ['*'] }] };
  const door = {
    tenant: () => ({
      read: async () => [{ version: 1, document }],
      call: async () => ({ kind: 'admitted', repeat: false, secretVersion: 1, secretRules: 1 }),
    }),
  } as unknown as Pick<TenantDoor, 'tenant'>;
  const policy = createPolicy({ door });
  const journal = createJournal({ door, stop: new AbortController().signal });
  return {
    async admit(tenantId, secretName) {
      const runId: RunId = buildRunId(tenantId, '0'.repeat(26));
      const decision = await policy.authorise(tenantId, 'default', { ...FACTS, runId });
      if (decision.kind !== 'allow') throw new Error(`the policy denies by ${decision.rule}`);
      const admitted = await journal.admit(tenantId, decision, callOf(runId, secretName));
      if (admitted.kind !== 'admitted') throw new Error(`admit answered ${admitted.kind}`);
      return admitted.admission;
    },
  };
}

const callOf = (runId: RunId, secretName: string) => ({
  runId,
  workflowId: runId,
  temporalRunId: runId,
  agentId: FACTS.agent,
  key: '0'.repeat(64) as CallKey,
  toolId: TOOL,
  toolVersion: 1,
  effectClass: 'write' as const,
  idempotency: 'keyed' as const,
  system: 'desk',
  access: 'mutate' as const,
  secretName,
  grantId: undefined,
  target: 'desk',
  digest: '00',
  request: new Uint8Array(1),
  requestedBy: FACTS.actor,
  newApprovalId: '',
  host: 'host-1',
  token: 'token',
  timeoutMs: 1_000,
  costMicros: 0,
});
