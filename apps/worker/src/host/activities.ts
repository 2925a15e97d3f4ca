import { randomUUID } from 'node:crypto';
import { Context } from '@temporalio/activity';
import { BulkheadError } from '@bulkhead/contract';
import type {
  CallAnswer,
  CallRequest,
  Envelope,
  GrantAnswer,
  GrantRequest,
  HostId,
} from '@bulkhead/contract';
import type { GovernedActivities } from '@bulkhead/runtime/worker';

/** Well below the kit's heartbeat timeout: a heartbeat also is how a cancellation reaches a running call. */
const HEARTBEAT_MS = 2_000;

/** What the gateway must know of the attempt that asks; it comes from Temporal and this host, never from arguments. */
export interface AttemptContext {
  readonly workflowId: string;
  readonly temporalRunId: string;
  readonly host: HostId;
  /** Random: tells this attempt from every other one, also after a reset has restarted Temporal's count. */
  readonly token: string;
  readonly signal: AbortSignal;
  readonly heartbeat: () => void;
}

export interface Line {
  secretBroker(envelope: Envelope, request: GrantRequest): Promise<GrantAnswer>;
  toolGateway(envelope: Envelope, request: CallRequest, context: AttemptContext): Promise<CallAnswer>;
}

/** Binds the line to Temporal's activities. */
export function bindActivities(line: Line, hostId: HostId): GovernedActivities {
  return {
    secretBroker: (envelope, request) => line.secretBroker(envelope, request),
    async toolGateway(envelope, request) {
      const { info, cancellationSignal, heartbeat } = Context.current();
      if (!info.workflowExecution) throw new BulkheadError('ENVELOPE_MISMATCH', { internal: 'no workflow' });
      const { workflowId, runId: temporalRunId } = info.workflowExecution;
      // without details: they would be stored
      const beat = (): void => heartbeat();
      const beating = setInterval(beat, HEARTBEAT_MS);
      try {
        return await line.toolGateway(envelope, request, {
          workflowId,
          temporalRunId,
          host: hostId,
          token: randomUUID(),
          signal: cancellationSignal,
          heartbeat: beat,
        });
      } finally {
        clearInterval(beating);
      }
    },
  };
}
