import type { Json, RunId, SignedEnvelope, TenantId } from '@bulkhead/contract';

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
  readonly input: Json;
}

/** How a run's last workflow execution closed. */
export type RunEnd =
  | { readonly state: 'completed'; readonly result: Json }
  | { readonly state: 'failed' | 'cancelled'; readonly message: string };

/** What the control process asks of Temporal; apps/worker binds it to the SDK. Every method throws when Temporal is away. */
export interface RunsInTemporal {
  /** Starts the run's workflow under the run's id; that it was started before is a success. */
  start(run: RunStart): Promise<void>;
  /** `gone`: there is no open workflow to signal. */
  signal(run: RunRef, name: string, argument: Json): Promise<'sent' | 'gone'>;
  /** Waits for the run's end, through continue-as-new and resets. */
  end(run: RunRef, stop: AbortSignal): Promise<RunEnd>;
  /** Ids of open runs, from the visibility store: it lags a little. */
  open(tenantId: TenantId): Promise<RunId[]>;
  /** Whether the run is open, from the run itself: it does not lag. */
  isOpen(run: Pick<RunRef, 'tenantId' | 'runId'>): Promise<boolean>;
}

/** The slice of a logger that is used here. Fields never hold inputs, results or tokens. */
export interface ControlLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}
