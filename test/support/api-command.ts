import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { TestApi } from './api.js';

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command of tools/dist as an operator types it, over the database of an API under test. It finds no keys. */
export async function commandOver(
  api: TestApi,
  name: 'operator' | 'tenant',
): Promise<{ run(...args: string[]): Promise<Ran>; close(): Promise<void> }> {
  const command = fileURLToPath(new URL(`../../tools/dist/${name}.js`, import.meta.url));
  const folder = await mkdtemp(join(tmpdir(), `bulkhead-${name}-`));
  const { appUrl, controlUrl } = api.database;
  const config = {
    role: 'api',
    database: { url: appUrl, controlUrl, poolMax: 2 },
    temporal: { address: '127.0.0.1:1', enforcesTokens: true, tokensDir: folder },
    keys: { master: 'unused', envelopeSigning: 'unused' },
    api: {
      host: '127.0.0.1',
      port: 0,
      graphiql: false,
      introspection: false,
      publicUrl: 'http://bulkhead.test',
    },
    log: { level: 'warn' },
  };
  const file = join(folder, 'api.json');
  await writeFile(file, JSON.stringify(config), { mode: 0o600 });
  return {
    async run(...args) {
      const env = { PATH: process.env['PATH'] ?? '', BULKHEAD_CONFIG: file };
      try {
        return { code: 0, ...(await promisify(execFile)(process.execPath, [command, ...args], { env })) };
      } catch (error) {
        return error as Ran;
      }
    },
    close: () => rm(folder, { recursive: true }),
  };
}
