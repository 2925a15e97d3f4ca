export { ensureKeys, writePrivate } from './keys.js';
export type { KeyFiles } from './keys.js';
export { startPostgres } from './postgres.js';
export type { RunningPostgres } from './postgres.js';
export { assertFree, configuredPorts, freePort, PORTS } from './ports.js';
export { writeConfigFiles } from './config-files.js';
export type { ConfigFiles, InstallationSettings, McpServer } from './config-files.js';
export { createHelpdesk } from './demo/helpdesk.js';
export { hostMcpServers, startProcess } from './processes.js';
