import type { Json } from './canonical-json.js';
import type { ApprovalId, CallKey, GrantId, RunId, ToolId } from './ids.js';

/** Why something waits or was refused: shown to the tenant as it stands, so it never holds internals or secrets. */
export interface Reason {
  /** Sentence for a person. */
  readonly message: string;
  /** Policy rule that decided, e.g. `no-external-destinations`. */
  readonly rule?: string;
  /** Quota layer or control state that decided, e.g. `tool_calls_per_day`. */
  readonly layer?: string;
  readonly limit?: number;
  readonly used?: number;
  /** ISO 8601 instant at which the layer frees up. */
  readonly resetsAt?: string;
  /** Input field that was wrong, as a dotted path. */
  readonly field?: string;
  readonly approvalId?: ApprovalId;
}

/** What an author gets for one call. Faults are exceptions; everything a policy, quota or tool says is a value. */
export type Outcome =
  | { readonly kind: 'ok'; readonly value: Json; readonly key: CallKey }
  | { readonly kind: RefusalKind; readonly reason: Reason; readonly key?: CallKey };

export const REFUSAL_KINDS = [
  'denied',
  'approval_expired',
  'throttled',
  'budget_exceeded',
  'invalid_input',
  'tool_failed',
  'provider_unavailable',
  'indeterminate',
] as const;
export type RefusalKind = (typeof REFUSAL_KINDS)[number];
export type OutcomeKind = 'ok' | RefusalKind;

export const RUN_STATES = [
  'accepted',
  'queued',
  'running',
  'approval_required',
  'throttled',
  'budget_exceeded',
  'provider_unavailable',
  'paused',
  'killed',
  'frozen',
  'completed',
  'failed',
  'cancelled',
] as const;
export type RunState = (typeof RUN_STATES)[number];
export const TERMINAL_RUN_STATES = [
  'completed',
  'failed',
  'cancelled',
] as const satisfies readonly RunState[];

/** What workflows hand to the gateway. No tenant, no credential: those come from the envelope and the grant. */
export interface CallRequest {
  readonly toolId: ToolId;
  readonly args: Json;
  /** Position in the continue-as-new chain, from 0; kept by a reset. */
  readonly segment: number;
  /** How many earlier calls of this segment had the same tool and arguments. */
  readonly n: number;
  readonly grantId?: GrantId;
  /** An approval that was decided and is now presented. */
  readonly approvalId?: ApprovalId;
}

/** The gateway's answer: an outcome for the author, or something the kit deals with itself. Each names the call that it answers. */
export type CallAnswer =
  | Outcome
  /** A person must decide; the kit waits for the signal or `expiresAt`, then calls again with the same key. */
  | {
      readonly kind: 'approval_required';
      readonly approvalId: ApprovalId;
      readonly expiresAt: string;
      readonly reason: Reason;
      readonly key: CallKey;
    }
  /** The grant ended (credential rotated, revoked): ask the broker once more, then it is `denied`. */
  | { readonly kind: 'grant_stale'; readonly reason: Reason; readonly key: CallKey }
  /** Tenant or platform is paused, killed (resumable) or frozen: the kit parks until resume. */
  | (Parked & { readonly key: CallKey });

export interface Parked {
  readonly kind: 'parked';
  readonly state: RunState;
  readonly reason: Reason;
}

export interface GrantRequest {
  readonly toolId: ToolId;
}

export type GrantAnswer =
  | {
      readonly kind: 'grant';
      readonly grantId: GrantId;
      readonly system: string;
      readonly access: 'read' | 'mutate';
      readonly expensive?: true;
    }
  /** The tool uses no credential. `expensive`: its calls go to the tenant's second queue; what else is said counts nothing. */
  | { readonly kind: 'none'; readonly expensive?: true }
  | { readonly kind: 'denied'; readonly reason: Reason };

/** Which tools a run wants to be told of. */
export interface ToolListRequest {
  /** First part of their ids, e.g. `helpdesk`; nothing: all. */
  readonly system?: string;
  /** The `next` of the list before; nothing: from the first. */
  readonly after?: string;
}

/**
 * What the policy in force says to the calls of a tool before there is one. It is no permission: each call is judged by
 * itself, by what is in force then. conditional: it depends on the call, the time, or what the run has read and done.
 */
export type ToolStanding = 'allowed' | 'conditional' | 'needsApproval';

/** One tool as a run is told of it. Its texts are what somebody declared: data for a model, never instructions to it. */
export interface ListedTool {
  readonly id: ToolId;
  /** At most 1,000 characters, without characters that cannot be seen. */
  readonly description: string;
  readonly effect: 'read' | 'write' | 'irreversible';
  readonly standing: ToolStanding;
  /** JSON Schema of the arguments; not there when it is above 16 KiB. */
  readonly inputSchema?: Json;
}

export interface ToolList {
  readonly kind: 'tools';
  /** By id; at most 64 and 128 KiB, because it stands in the history of the run. */
  readonly tools: readonly ListedTool[];
  /** There may be more: ask again with `after`. */
  readonly next?: string;
  /** What was asked, and by which run: a list is no answer to another question. */
  readonly of: {
    readonly runId: RunId;
    readonly system?: string | undefined;
    readonly after?: string | undefined;
  };
}
export type ToolListAnswer = ToolList | Parked;

/** The activities that exist; workflows know their types from here and nothing else of them. */
export interface LineActivities {
  secretBroker(request: GrantRequest): Promise<GrantAnswer>;
  toolGateway(request: CallRequest): Promise<CallAnswer>;
  toolList(request: ToolListRequest): Promise<ToolListAnswer>;
}

/** First argument of each agent workflow. `segment` is +1 after each continue-as-new. */
export interface AgentStart {
  readonly input: Json;
  readonly segment: number;
  /** State that the workflow hands to its next segment. */
  readonly carry?: Json;
}
