export { approveOffer } from './approve.js';
export { findTool, listTools, putTool, setToolEnabled, toolHistory } from './registry.js';
export type { ChangedBy, ToolInfo, ToolVersionInfo } from './registry.js';
