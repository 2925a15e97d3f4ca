import {
  WorkflowExecutionAlreadyStartedError,
  WorkflowFailedError,
  WorkflowNotFoundError,
} from '@temporalio/client';
import type {
  Client,
  Connection,
  WorkflowExecutionDescription,
  WorkflowExecutionInfo,
} from '@temporalio/client';
import { ApplicationFailure, CancelledFailure, TerminatedFailure, TimeoutFailure } from '@temporalio/common';
import {
  BulkheadError,
  FAILURES,
  parseRunId,
  placementOf,
  SEARCH_ATTRIBUTES,
  sealedPayloadOf,
} from '@bulkhead/contract';
import type { FailureCode, RunId, SignedEnvelope, TenantId } from '@bulkhead/contract';
import type { RunClose, RunExecution, RunRef, RunsInTemporal } from '@bulkhead/runs/control';
import { openTenantClient } from '@bulkhead/runtime/client';
import { createCarrierCodec } from '@bulkhead/runtime/codec';

const REQUEST_MS_MAX = 5_000;
/** What a list gives at most; the newest come first. */
const EXECUTIONS_MAX = 10_000;

/**
 * What the control process asks of Temporal, over its own connection. It has no key of a tenant: it starts and signals
 * with what the API sealed, and hands results on as they are.
 */
export function createRunsInTemporal(connection: Connection): RunsInTemporal {
  const clientOf = (tenantId: TenantId, envelope?: SignedEnvelope): Client =>
    openTenantClient(connection, tenantId, { codec: createCarrierCodec(tenantId), envelope });
  const soon = <T>(client: Client, work: () => Promise<T>): Promise<T> =>
    client.withDeadline(Date.now() + REQUEST_MS_MAX, work);

  return {
    async start(run) {
      const client = clientOf(run.tenantId, run.envelope);
      try {
        await soon(client, () =>
          client.workflow.start(run.workflowType, {
            workflowId: run.runId,
            taskQueue: placementOf(run.tenantId).taskQueue,
            args: [run.start],
            // an order that is delivered twice must not run twice, not even after the first has ended
            workflowIdReusePolicy: 'REJECT_DUPLICATE',
            workflowIdConflictPolicy: 'FAIL',
            searchAttributes: {
              [SEARCH_ATTRIBUTES.agent]: [run.agentId],
              [SEARCH_ATTRIBUTES.workspace]: [run.workspaceId],
            },
          }),
        );
      } catch (error) {
        if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      }
    },

    async signal(run, name, args) {
      const client = clientOf(run.tenantId, run.envelope);
      try {
        await soon(client, () => client.workflow.getHandle(run.runId).signal(name, ...args));
        return 'sent';
      } catch (error) {
        if (error instanceof WorkflowNotFoundError) return 'gone';
        throw error;
      }
    },

    async end(run, stop, onReset) {
      const client = clientOf(run.tenantId);
      const look = (): Promise<WorkflowExecutionDescription> =>
        soon(client, () => client.workflow.getHandle(run.runId).describe());
      let seen = await look();
      for (;;) {
        if (seen.raw.workflowExtendedInfo?.lastResetTime) await onReset(seen.runId);
        const watched = seen.runId;
        const end = await client.withAbortSignal(stop, () => endOf(client, run, watched));
        seen = await look();
        // a reset ends the execution that we watched and opens another one under the same id, as does the next segment;
        // only the end of the last one is the run's
        if (seen.runId === watched && !isOpen(seen)) return { ...end, execution: watched };
      }
    },

    async executions(tenantId, since) {
      const client = clientOf(tenantId);
      const query = `ExecutionStatus = "Running" OR (CloseTime >= "${since.toISOString()}" AND ExecutionStatus != "ContinuedAsNew")`;
      const found: RunExecution[] = [];
      for await (const execution of client.workflow.list({ query })) {
        if (parseRunId(execution.workflowId)?.tenantId !== tenantId) continue;
        if (found.push(executionOf(execution)) === EXECUTIONS_MAX) break;
      }
      return found;
    },

    async latest({ tenantId, runId }) {
      const client = clientOf(tenantId);
      try {
        return executionOf(await soon(client, () => client.workflow.getHandle(runId).describe()));
      } catch (error) {
        if (error instanceof WorkflowNotFoundError) return undefined;
        throw error;
      }
    },
  };
}

type Found = Pick<WorkflowExecutionInfo, 'workflowId' | 'runId' | 'status'>;

const executionOf = (found: Found): RunExecution => ({
  runId: found.workflowId as RunId,
  execution: found.runId,
  open: isOpen(found),
});

const isOpen = ({ status }: Pick<Found, 'status'>): boolean =>
  status.name === 'RUNNING' || status.name === 'PAUSED';

async function endOf(client: Client, { runId, tenantId }: RunRef, execution: string): Promise<RunClose> {
  try {
    const result: unknown = await client.workflow.getHandle(runId, execution).result();
    return { state: 'completed', result: sealedPayloadOf(tenantId, result) ?? null };
  } catch (error) {
    // closed by somebody without the tenant's key; it will not become another end by waiting
    if (error instanceof BulkheadError && error.code === 'PAYLOAD_REFUSED')
      return { state: 'failed', message: error.publicMessage };
    if (error instanceof WorkflowFailedError) return refusalOf(error.cause);
    throw error;
  }
}

/** The sentence that the tenant reads. Texts of failures can quote anything, so only our own table speaks. */
function refusalOf(cause: unknown): RunClose {
  if (cause instanceof CancelledFailure)
    return { state: 'cancelled', message: 'The run was cancelled.', by: 'cancel' };
  if (cause instanceof TerminatedFailure)
    return { state: 'cancelled', message: 'The run was terminated.', by: 'terminate' };
  if (cause instanceof TimeoutFailure) return { state: 'failed', message: 'The run took too long.' };
  return { state: 'failed', message: FAILURES[codeOf(cause)].publicMessage };
}

/** The failure code of the fault at the bottom of a chain (activity failures wrap it). */
function codeOf(failure: unknown): FailureCode {
  for (let at: unknown = failure; at instanceof Error; at = at.cause) {
    if (at instanceof ApplicationFailure && at.type && Object.hasOwn(FAILURES, at.type))
      return at.type as FailureCode;
  }
  return 'INTERNAL';
}
