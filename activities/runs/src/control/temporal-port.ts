import type { RunId, SealedPayload, SignedEnvelope, TenantId } from '@bulkhead/contract';
import type { ResetPoint } from '../run-requests.js';

/** A run as the control process needs it to speak to Temporal about it. */
export interface RunRef {
  readonly tenantId: TenantId;
  readonly runId: RunId;
  /** As accepted; starts and signals carry it. */
  readonly envelope: SignedEnvelope;
}

export interface RunStart extends RunRef {
  readonly workflowType: string;
  readonly workspaceId: string;
  readonly agentId: string;
  /** What the workflow is called with (AgentStart), as the API sealed it: nobody here can read it. */
  readonly start: SealedPayload;
}

/** One of Temporal's executions of a run: each segment and each reset opens another one under the run's id. */
export interface RunExecution {
  readonly runId: RunId;
  /** Temporal's own run id. */
  readonly execution: string;
  readonly open: boolean;
}

/** How a run's last workflow execution closed. */
export type RunEnd = { readonly execution: string } & RunClose;
export type RunClose =
  | { readonly state: 'completed'; readonly result: SealedPayload | null }
  | {
      readonly state: 'failed' | 'cancelled';
      readonly message: string;
      /** Somebody's doing, not the run's own. */
      readonly by?: 'cancel' | 'terminate';
    };

/** What the control process asks of Temporal; apps/worker binds it to the SDK. Every method throws when Temporal is away. */
export interface RunsInTemporal {
  /** Starts the run's workflow under the run's id; that it was started before is a success. */
  start(run: RunStart): Promise<void>;
  /** `gone`: there is no open workflow to signal. */
  signal(run: RunRef, name: string, args: readonly SealedPayload[]): Promise<'sent' | 'gone'>;
  /**
   * Waits for the run's end, through continue-as-new and resets. `onReset` is told each execution that a reset opened,
   * by whomever; one may be told again after a restart.
   */
  end(run: RunRef, stop: AbortSignal, onReset: (temporalRunId: string) => Promise<void>): Promise<RunEnd>;
  /**
   * Executions that are open or have closed since, without those that went on in a next segment, from the visibility
   * store: it lags a little. Of more than 10,000 the newest.
   */
  executions(tenantId: TenantId, since: Date): Promise<readonly RunExecution[]>;
  /** The last execution, from the run itself: it does not lag. undefined: retention has removed it. */
  latest(run: Pick<RunRef, 'tenantId' | 'runId'>): Promise<RunExecution | undefined>;
}

/**
 * What the control process does to a run because a person asked. `requestId` makes asking twice harmless; the person's
 * reason stays in our journal, because what Temporal keeps of a request is not encrypted. Every method throws when
 * Temporal is away. `gone`: there is no open workflow.
 */
export interface RunControlInTemporal {
  cancel(run: RunRef, requestId: string): Promise<'done' | 'gone'>;
  terminate(run: RunRef, requestId: string): Promise<'done' | 'gone'>;
  signalOnce(
    run: RunRef,
    requestId: string,
    name: string,
    args: readonly SealedPayload[],
  ): Promise<'done' | 'gone'>;
  /** `refused`: it cannot be done, now or later; the message is for whoever asked. */
  reset(
    run: RunRef,
    requestId: string,
    point: ResetPoint & { readonly dropSignals: boolean },
  ): Promise<
    | { readonly kind: 'reset'; readonly temporalRunId: string }
    | { readonly kind: 'refused'; readonly message: string }
  >;
}

/** The slice of a logger that is used here. Fields never hold inputs, results or tokens. */
export interface ControlLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}
