export {
  createOperator,
  createOperatorKey,
  listOperatorRecords,
  listOperators,
  revokeOperator,
} from './control/operators.js';
export type { Operator, OperatorRecord } from './control/operators.js';
export { destroyTenantKeys } from './control/tenant-keys.js';
export { createTokenKeys, orderTokenKeys, revokeTokenKeys, tokenKeysInUse } from './control/token-keys.js';
export type { KeyOwner, LiveKey, TokenKeyPorts } from './control/token-keys.js';

export { createLifecycleSteps } from './control/lifecycle-steps.js';
export type { LifecyclePorts } from './control/lifecycle-steps.js';
export { pendingLifecycles, runningLifecycles, showStarted, showTold } from './control/lifecycle-rows.js';
export { reconcileTenants } from './control/reconcile.js';
