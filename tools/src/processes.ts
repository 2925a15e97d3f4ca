import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child } from '@bulkhead/temporal-server';
import type { McpServer } from './config-files.js';

const READY_WITHIN_MS = 60_000;
const require = createRequire(import.meta.url);

/** Bulkhead's own processes and the demo's services: where their compiled mains are. */
export const MAINS = {
  api: require.resolve('@bulkhead/api'),
  host: require.resolve('@bulkhead/worker/host'),
  control: require.resolve('@bulkhead/worker/control'),
  helpdesk: fileURLToPath(new URL('../dist/demo/helpdesk.js', import.meta.url)),
  'scripted-model': fileURLToPath(new URL('../dist/demo/scripted-model.js', import.meta.url)),
} as const;
export type ProcessName = keyof typeof MAINS;

export interface ProcessOptions {
  readonly name: ProcessName;
  /** Folder of the log files. */
  readonly logs: string;
  /** BULKHEAD_CONFIG of a Bulkhead process. */
  readonly configFile?: string;
  readonly args?: readonly string[];
  readonly onExit: (name: string, code: number | null, lastLines: string) => void;
}

/** Starts one Node process and returns when it says that it serves. @throws ChildFailed */
export async function startProcess(options: ProcessOptions): Promise<Child> {
  const child = await Child.start({
    name: options.name,
    command: process.execPath,
    args: ['--enable-source-maps', MAINS[options.name], ...(options.args ?? [])],
    env: options.configFile === undefined ? {} : { BULKHEAD_CONFIG: options.configFile },
    logFile: join(options.logs, `${options.name}.log`),
    ipc: true,
    onExit: options.onExit,
  });
  await child.ready(READY_WITHIN_MS);
  return child;
}

/** The MCP servers that a host of this installation may start, by name. */
export function hostMcpServers(): Record<string, McpServer> {
  const manifest = require.resolve('@modelcontextprotocol/server-memory/package.json');
  const { bin } = require(manifest) as { bin: Record<string, string> };
  const main = join(dirname(manifest), Object.values(bin)[0] ?? 'dist/index.js');
  // without MEMORY_FILE_PATH the server keeps one file in its package folder, shared by all tenants
  return { memory: { command: process.execPath, args: [main], dataFileEnv: 'MEMORY_FILE_PATH' } };
}
