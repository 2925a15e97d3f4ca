import type { CallAnswer, CallRequest, Envelope } from '@bulkhead/contract';
import type { HttpTool, McpTool, ModelTool } from '@bulkhead/contract/schemas';
import type { Journal } from '@bulkhead/journal/line';
import type { Policy } from '@bulkhead/policy/line';
import type { KeyRing } from '@bulkhead/runtime/keys';
import type { SecretBroker } from '@bulkhead/secret-broker/line';
import type { Adapter } from './adapters/adapter.js';
import type { InFlight } from './in-flight.js';
import type { Matcher } from './match.js';
import type { ToolState } from './tool-state.js';

export interface Adapters {
  readonly http: Adapter<HttpTool>;
  readonly mcp: Adapter<McpTool>;
  readonly model: Adapter<ModelTool>;
}

export interface GatewayDeps {
  readonly matcher: Matcher;
  readonly policy: Policy;
  readonly journal: Journal;
  readonly broker: Pick<SecretBroker, 'lease'>;
  readonly toolState: ToolState;
  readonly adapters: Adapters;
  /** Where stops find the calls of this host. */
  readonly inFlight: InFlight;
  readonly keyRing: Pick<KeyRing, 'seal' | 'open'>;
  /** A fresh ULID, lower case. */
  readonly newUlid: () => string;
  /** Whether this host may still act; asked right before the first byte leaves. */
  readonly stillMine: () => boolean;
}

/** What the activity knows about itself; nothing of it comes from arguments. */
export interface GatewayContext {
  readonly workflowId: string;
  readonly temporalRunId: string;
  /** Whether the task came over the tenant's queue for expensive tools. */
  readonly onExpensiveQueue: boolean;
  /** Attempt of this activity, from 1. */
  readonly attempt: number;
  readonly host: string;
  /** Random, one per attempt. */
  readonly token: string;
  /** Cancel and shutdown. */
  readonly signal: AbortSignal;
  /** Says that this attempt lives; without details. */
  readonly heartbeat: () => void;
}

export type ToolGateway = (
  envelope: Envelope,
  request: CallRequest,
  context: GatewayContext,
) => Promise<CallAnswer>;
