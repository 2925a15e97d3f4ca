export { currentPolicy, publishPolicy } from './publish.js';
export { decideApproval, listApprovals } from './approvals.js';
export type { Approval, ApprovalPage } from './approvals.js';
