import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { buildApprovalId, SIGNALS, tenantId } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import { closeFleetThreads, installRuntime } from '@bulkhead/runtime/worker';
import { workflowBundlePath } from '@bulkhead/workflows/bundle';
import { replay, replayKeysOf } from '../support/replay.js';
import type { Recorded, ReplayKeys } from '../support/replay.js';
import { scriptedLine } from '../support/scripted-line.js';
import type { ScriptedAnswer } from '../support/scripted-line.js';
import { openTenantWorld } from '../support/tenant-world.js';
import type { TenantWorld } from '../support/tenant-world.js';

/** Histories of finished runs of every workflow, made on the real server. */
const recorded: Recorded[] = [];
let tenant: TenantWorld;
const approvalId = buildApprovalId(tenantId('acme'), '01kb3v6r2e8m4q7x9z0a1b2c3d');

beforeAll(async () => {
  installRuntime(pino({ level: 'fatal' }), 'warn');
  const line = scriptedLine((request, asked): ScriptedAnswer | undefined =>
    request.toolId === 'helpdesk.ticket.update' && asked === 5
      ? {
          kind: 'approval_required',
          approvalId,
          expiresAt: new Date(Date.now() + 60_000).toISOString(),
          reason: { message: 'ask' },
        }
      : undefined,
  );
  tenant = await openTenantWorld(line.activities);
  await record('supportTriage', { ticketId: 'T-1' }, true);
  await record('longChain', { ticketId: 'T-1', segments: 2, callsPerSegment: 3 }, false);
});
afterAll(async () => {
  await tenant.close();
  await closeFleetThreads();
});

const keysOf = (): ReplayKeys => replayKeysOf(tenant.keys, tenant.tenantId);

async function record(workflow: string, input: Json, approve: boolean): Promise<void> {
  const handle = await tenant.start(workflow, input);
  if (approve) await handle.signal(SIGNALS.approvalDecided, { approvalId });
  await handle.result();
  const client = tenant.client();
  for (const runId of new Set([handle.firstExecutionRunId, undefined])) {
    const history = await client.workflow.getHandle(handle.workflowId, runId).fetchHistory();
    recorded.push({ workflowId: handle.workflowId, history });
  }
}

it('replaying every finished history makes no outside call and reaches the same commands', async () => {
  for (const one of recorded)
    expect(await replay([one], keysOf())).toEqual([{ workflowId: one.workflowId, error: null }]);
});

it('a workflow that was changed incompatibly is noticed: the check can fail', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bulkhead-bundle-'));
  try {
    const changed = join(folder, 'bundle.js');
    const code = await readFile(workflowBundlePath(), 'utf8');
    const recall = 'await kit.memory.recall(ticketId)';
    expect(code).toContain(recall);
    await writeFile(changed, code.replaceAll(recall, "{ kind: 'ok', value: null }"));
    const [triage] = recorded;
    const [result] = await replay(triage ? [triage] : [], keysOf(), changed);
    expect(result?.error).toMatch(/Determinism/i);
  } finally {
    await rm(folder, { recursive: true });
  }
});
