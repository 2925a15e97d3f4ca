import { randomUUID } from 'node:crypto';
import { Context } from '@temporalio/activity';
import { BulkheadError, placementOf } from '@bulkhead/contract';
import type { HostId } from '@bulkhead/contract';
import type { GovernedActivities } from '@bulkhead/runtime/worker';
import type { SecretBroker } from '@bulkhead/secret-broker/line';
import type { ToolGateway, ToolLister } from '@bulkhead/tool-gateway/line';

export interface Line {
  readonly secretBroker: SecretBroker['secretBroker'];
  readonly toolGateway: ToolGateway;
  readonly toolList: ToolLister;
}

/** Binds the line to Temporal's activities: what identifies an attempt comes from Temporal and this host, never from arguments. */
export function bindActivities(line: Line, hostId: HostId): GovernedActivities {
  return {
    secretBroker: (envelope, request) => line.secretBroker(envelope, request),
    toolList: (envelope, request) => line.toolList(envelope, request),
    toolGateway(envelope, request) {
      const { info, cancellationSignal, heartbeat } = Context.current();
      if (!info.workflowExecution) throw new BulkheadError('ENVELOPE_MISMATCH', { internal: 'no workflow' });
      return line.toolGateway(envelope, request, {
        workflowId: info.workflowExecution.workflowId,
        temporalRunId: info.workflowExecution.runId,
        onExpensiveQueue: info.taskQueue === placementOf(envelope.tenantId).expensiveQueue,
        attempt: info.attempt,
        host: hostId,
        // random: Temporal's count starts again after a reset and cannot tell two attempts apart
        token: randomUUID(),
        signal: cancellationSignal,
        // without details: they would be stored
        heartbeat: () => heartbeat(),
      });
    },
  };
}
