import { randomUUID } from 'node:crypto';
import type { Connection } from '@temporalio/client';
import { placementOf } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import { openTenantClient } from '@bulkhead/runtime/client';
import { createCarrierCodec } from '@bulkhead/runtime/codec';

/** Resets a run to its first workflow task, as an operator would; everything after it happens again. */
export async function resetToFirstTask(
  connection: Connection,
  tenantId: TenantId,
  workflowId: string,
): Promise<string> {
  const codec = createCarrierCodec(tenantId); // no payload is read
  const handle = openTenantClient(connection, tenantId, { codec }).workflow.getHandle(workflowId);
  const { runId } = await handle.describe();
  const { events } = await handle.fetchHistory();
  const completed = events?.find((event) => event.workflowTaskCompletedEventAttributes);
  if (!completed?.eventId) throw new Error(`${workflowId} has no completed workflow task`);
  const answer = await connection.workflowService.resetWorkflowExecution({
    namespace: placementOf(tenantId).namespace,
    workflowExecution: { workflowId, runId },
    reason: 'test',
    workflowTaskFinishEventId: completed.eventId,
    requestId: randomUUID(),
  });
  return answer.runId;
}
