export { approveOffer } from './approve.js';
export { listImports, orderImport } from './import-orders.js';
export type { McpImport } from './import-orders.js';
export type { ImportChange } from './import.js';
export { findTool, listTools, putTool, setToolEnabled, toolHistory } from './registry.js';
export type { ChangedBy, ToolInfo, ToolVersionInfo } from './registry.js';
export { describeCall, describeTool } from './describe-call.js';
export type { DescribedCall } from './describe-call.js';
