import type { TenantId } from './ids.js';

/** A tenant's way through the platform: what is done to it, in which steps. Workflows, activities and API share it. */

/** Namespace and queue of the platform's own workflows. No tenant's token opens them. */
export const LIFECYCLE_PLACE = {
  namespace: 'bulkhead-system',
  taskQueue: 'bulkhead-system.lifecycle',
} as const;

export const LIFECYCLE_KINDS = ['provision', 'suspend', 'resume', 'offboard'] as const;
export type LifecycleKind = (typeof LIFECYCLE_KINDS)[number];

/** `waiting`: the grace period of an offboarding. `reinstated`: an offboarding that was taken back in time. */
export const LIFECYCLE_STATES = ['requested', 'running', 'waiting', 'completed', 'reinstated'] as const;
export type LifecycleState = (typeof LIFECYCLE_STATES)[number];

export type LifecycleStep =
  | 'check-rows'
  | 'register-namespace'
  | 'issue-tokens'
  | 'activate'
  | 'stop'
  | 'drain'
  | 'revoke-tokens'
  | 'export'
  | 'wait-grace'
  | 'begin-erasure'
  | 'destroy-keys'
  | 'delete-namespace'
  | 'delete-rows'
  | 'leave-tombstone'
  | 'put-back';

/** Steps in their order; each may be done again without harm, so a process may die in any of them. */
export const LIFECYCLE_STEPS = {
  provision: ['check-rows', 'register-namespace', 'issue-tokens', 'activate'],
  suspend: ['stop', 'drain', 'revoke-tokens'],
  resume: ['issue-tokens', 'activate'],
  offboard: ['stop', 'drain', 'revoke-tokens', 'export', 'wait-grace'],
} as const satisfies Record<LifecycleKind, readonly LifecycleStep[]>;

/** What follows the grace period. */
export const AFTER_GRACE = {
  erase: ['begin-erasure', 'destroy-keys', 'delete-namespace', 'delete-rows', 'leave-tombstone'],
  reinstate: ['put-back'],
} as const satisfies Record<'erase' | 'reinstate', readonly LifecycleStep[]>;

/** What a lifecycle workflow is started with: names only, no secret and no content. */
export interface LifecycleStart {
  readonly tenantId: TenantId;
  readonly lifecycleId: string;
  readonly kind: LifecycleKind;
}

/** What a step tells the workflow. */
export interface StepAnswer {
  /** `wait-grace` only: how much of the grace period is left, in milliseconds; 0: it is over. */
  readonly waitMs?: number;
  /** `wait-grace` and `begin-erasure`: the offboarding was taken back. */
  readonly reinstate?: boolean;
}

export interface LifecycleActivities {
  lifecycleStep(start: LifecycleStart, step: LifecycleStep): Promise<StepAnswer>;
}

export const LIFECYCLE_WORKFLOW = 'tenantLifecycle';
/** Only wakes: the row decides whether the offboarding was taken back. */
export const LIFECYCLE_SIGNAL = 'reinstated';
