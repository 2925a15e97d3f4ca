export { approveOffer } from './approve.js';
export { findTool, listTools, putTool, setToolEnabled, toolHistory } from './registry.js';
export type { ChangedBy, ToolInfo, ToolVersionInfo } from './registry.js';
export { describeCall, describeTool } from './describe-call.js';
export type { DescribedCall } from './describe-call.js';
