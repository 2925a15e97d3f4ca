export { endApprovals } from './control/end-approvals.js';
export { removeOldCounters } from './control/remove-old-counters.js';
