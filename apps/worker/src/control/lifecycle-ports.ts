import { randomBytes } from 'node:crypto';
import { mkdir, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection } from '@temporalio/client';
import type { LifecyclePorts } from '@bulkhead/tenancy/control';
import { deleteNamespace, ensureNamespace } from './namespaces.js';
import type { TokenService } from './token-service.js';

export interface LifecyclePortsDeps {
  readonly connection: Connection;
  readonly tokens: Pick<TokenService, 'syncOnce' | 'untilIssued' | 'untilRefused'>;
  readonly exportsDir: string;
}

/** Binds the steps of lifecycles to Temporal, the token folder and the disk. */
export function createLifecyclePorts({
  connection,
  tokens,
  exportsDir,
}: LifecyclePortsDeps): Omit<LifecyclePorts, 'destroyKeys'> {
  return {
    registerNamespace: (tenantId) => ensureNamespace(connection, tenantId),
    deleteNamespace: (tenantId) => deleteNamespace(connection, tenantId),
    issueTokens: (tenantId) => tokens.untilIssued(tenantId),
    // a tenant in this status is assigned to nobody
    withdrawTokens: async () => void (await tokens.syncOnce()),
    untilRefused: (tenantId) => tokens.untilRefused(tenantId),
    writeExport: (lifecycleId, lines) => writePrivately(exportsDir, `${lifecycleId}.jsonl`, lines),
    sleep: (ms) => sleep(ms),
    now: () => new Date(),
  };
}

async function writePrivately(dir: string, name: string, lines: AsyncIterable<string>): Promise<string> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const path = join(dir, name);
  const temporary = join(dir, `.${name}.${randomBytes(4).toString('hex')}`);
  const file = await open(temporary, 'wx', 0o600);
  try {
    for await (const line of lines) await file.write(line);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  return path;
}
