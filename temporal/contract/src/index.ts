export {
  agentId,
  buildApprovalId,
  buildGrantId,
  buildInvitationId,
  buildImportId,
  buildRevocationId,
  buildStopId,
  buildRunId,
  InvalidId,
  parseApprovalId,
  parseGrantId,
  parseInvitationId,
  parseRevocationId,
  parseStopId,
  parseRunId,
  runIdOfWorkflow,
  tenantId,
  toolId,
  workspaceId,
} from './ids.js';
export type {
  AgentId,
  ApprovalId,
  CallKey,
  GrantId,
  InvitationId,
  ImportId,
  RevocationId,
  StopId,
  HostId,
  RunId,
  TenantId,
  ToolId,
  WorkspaceId,
} from './ids.js';
export { BoundedMap } from './bounded-map.js';
export { TenantCache } from './tenant-cache.js';
export { canonicalJson, depthExceeds } from './canonical-json.js';
export type { Json } from './canonical-json.js';
export { argsWithoutText, callText } from './call-text.js';
export type { CallIdentity } from './call-text.js';
export { sha256Hex } from './sha256.js';
export { isStorable, isStorableText } from './storable.js';
export { sealedPayloadOf } from './sealed.js';
export type { SealArguments, SealedPayload } from './sealed.js';
export {
  ACTIVITIES,
  CHANNELS,
  childWorkflowId,
  ENVELOPE_HEADER,
  PERSON_SIGNALS,
  expensiveQueueBeside,
  faultMark,
  placementOf,
  QUERIES,
  REFUSAL_SINK,
  REFUSED_PAYLOAD_HEADER,
  SEARCH_ATTRIBUTES,
  SIGNALS,
  WORKFLOWS,
} from './names.js';
export type { RefusalSink, RefusedAt, TenantPlacement } from './names.js';
export type { Envelope, SignedEnvelope } from './envelope.js';
export { claimsOf, ENVELOPE_DIFFERENCES, ENVELOPE_FIELDS, envelopeDifferences } from './envelope-claims.js';
export type { EnvelopeDifference, EnvelopeRefusal } from './envelope-claims.js';
export { REFUSAL_KINDS, RUN_STATES, TERMINAL_RUN_STATES } from './outcomes.js';
export type {
  AgentStart,
  CallAnswer,
  CallRequest,
  GrantAnswer,
  GrantRequest,
  LineActivities,
  ListedTool,
  Outcome,
  OutcomeKind,
  Reason,
  RefusalKind,
  RunState,
  ToolList,
  ToolListAnswer,
  ToolListRequest,
  ToolStanding,
} from './outcomes.js';
export {
  AFTER_GRACE,
  LIFECYCLE_KINDS,
  LIFECYCLE_PLACE,
  LIFECYCLE_SIGNAL,
  LIFECYCLE_STATES,
  LIFECYCLE_STEPS,
  LIFECYCLE_WORKFLOW,
} from './lifecycle.js';
export type {
  LifecycleActivities,
  LifecycleKind,
  LifecycleStart,
  LifecycleState,
  LifecycleStep,
  StepAnswer,
} from './lifecycle.js';
export { BulkheadError, FAILURE_CODES, FAILURES } from './failures.js';
export type { FailureCode, FailureDetails, FailureOwner } from './failures.js';
