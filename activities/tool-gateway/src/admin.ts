export { listTools, putTool, setToolEnabled } from './registry.js';
export type { ToolInfo } from './registry.js';
