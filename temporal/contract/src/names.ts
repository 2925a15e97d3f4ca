import type { FailureCode } from './failures.js';
import type { TenantId } from './ids.js';

/** Every name that travels on a wire. Changing one breaks running workflows: add, do not rename. */

/** Header that carries the signed envelope through start, signal, activity, child and continue-as-new. */
export const ENVELOPE_HEADER = 'bulkhead-envelope';

/** Header that the host sets where it took out arguments which the tenant's key did not seal. */
export const REFUSED_PAYLOAD_HEADER = 'bulkhead-payload-refused';

/** Sink by which workflow code tells its host what it refused. */
export const REFUSAL_SINK = 'bulkheadRefusals';
/** Where an envelope, or what came with it, was refused. */
export type RefusedAt = 'start' | 'signal' | 'update' | 'child' | 'activity' | 'answer';
export type RefusalSink = {
  readonly [REFUSAL_SINK]: {
    /** @param differs names of EnvelopeDifference, joined by commas: a sink takes primitives only */
    refused(at: RefusedAt, code: FailureCode, differs: string): void;
  };
};

/**
 * Stands in the sealed details of a fault that ends an activity for good: of which question of which run it is. Type and
 * finality stand readable beside it, where whoever may write to the namespace writes what they like.
 */
export const faultMark = (workflowId: string, activityId: string, code: string): string =>
  JSON.stringify([workflowId, activityId, code]);

export const ACTIVITIES = {
  secretBroker: 'secretBroker',
  toolGateway: 'toolGateway',
  toolList: 'toolList',
} as const;
/** Signals only wake a run; the row in the database decides. */
export const SIGNALS = { approvalDecided: 'approvalDecided', resume: 'resume' } as const;
export const QUERIES = { waitingFor: 'waitingFor' } as const;
export const WORKFLOWS = { supportTriage: 'supportTriage', longChain: 'longChain' } as const;
/**
 * Signals that people may send to a run, by its workflow (mutation signalRun); all others are the platform's own. They
 * are handled like any input: an argument may have any shape.
 */
export const PERSON_SIGNALS: Readonly<Record<string, readonly string[]>> = {
  [WORKFLOWS.longChain]: ['enough'],
};
/** Keyword search attributes; they are not encrypted, so they carry no content, only labels. */
export const SEARCH_ATTRIBUTES = { agent: 'BulkheadAgent', workspace: 'BulkheadWorkspace' } as const;

/** Database channels of LISTEN/NOTIFY: payloads carry ids only and are hints; the rows decide. */
export const CHANNELS = {
  outbox: 'bulkhead_outbox',
  runs: 'bulkhead_runs',
  tenants: 'bulkhead_tenants',
  /** Who may act has changed: payload is the tenant, or empty for the platform's operators. */
  access: 'bulkhead_access',
  /** Something was stopped or revoked: payload is the tenant; hosts look which of their calls it is about. */
  control: 'bulkhead_control',
  /** Approvals or stops have changed: payload is `<what> <tenant>`; whoever watches reads again. */
  changes: 'bulkhead_changes',
} as const;

const NAMESPACE_PREFIX = 'tnt-';

/** Where a tenant's work runs. The only place that derives a namespace or queue from a tenant. */
export interface TenantPlacement {
  readonly namespace: string;
  readonly taskQueue: string;
  /** Where the calls of the tenant's expensive tools wait: activities only, with slots of their own on each host. */
  readonly expensiveQueue: string;
}

const AGENTS = '.agents';
const EXPENSIVE = '.expensive';

export function placementOf(tenant: TenantId): TenantPlacement {
  const namespace = `${NAMESPACE_PREFIX}${tenant}`;
  return { namespace, taskQueue: `${namespace}${AGENTS}`, expensiveQueue: `${namespace}${EXPENSIVE}` };
}

/**
 * The queue of the expensive tools beside a run's own queue: a workflow knows where it runs, and not for whom. A queue
 * that is none of ours stays as it is.
 */
export const expensiveQueueBeside = (taskQueue: string): string =>
  taskQueue.endsWith(AGENTS) ? `${taskQueue.slice(0, -AGENTS.length)}${EXPENSIVE}` : taskQueue;

/** Child workflow ids are derived, never random: a reset must meet its own children again. */
export const childWorkflowId = (parent: string, segment: number, k: number): string =>
  `${parent}/${segment}.${k}`;
