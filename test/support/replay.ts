import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { temporal } from '@temporalio/proto';
import { inject } from 'vitest';
import type { TenantId } from '@bulkhead/contract';
import { workflowBundlePath } from '@bulkhead/workflows/bundle';
import type { TestKeys } from './payloads.js';

export interface Recorded {
  readonly workflowId: string;
  readonly history: temporal.api.history.v1.IHistory;
}
export interface Replayed {
  readonly workflowId: string;
  readonly error: string | null;
}

/** What a replay opens a tenant's histories with: a file, because it has no network. */
export interface ReplayKeys {
  readonly tenantId: TenantId;
  readonly masterKeyPath: string;
  readonly keyId: string;
  /** Base64. */
  readonly wrapped: string;
}

export function replayKeysOf(keys: TestKeys, tenantId: TenantId): ReplayKeys {
  const { keyId, wrapped } = keys.wrappedKeyOf(tenantId);
  const masterKeyPath = inject('servers').keys.master;
  return { tenantId, masterKeyPath, keyId, wrapped: Buffer.from(wrapped).toString('base64') };
}

const REPLAY_MS_MAX = 60_000;
const at = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/**
 * Replays histories in a process of its own that has no network and a hard time limit.
 * @throws Error when the child used the network (exit code 99), took too long or broke.
 */
export async function replay(
  recorded: readonly Recorded[],
  keys: ReplayKeys,
  bundle = workflowBundlePath(),
): Promise<Replayed[]> {
  const folder = await mkdtemp(join(tmpdir(), 'bulkhead-replay-'));
  try {
    for (const { workflowId, history } of recorded) {
      const bytes = temporal.api.history.v1.History.encode(history).finish();
      await writeFile(join(folder, `${encodeURIComponent(workflowId)}.bin`), bytes, { mode: 0o600 });
    }
    const keyFile = join(folder, 'keys.json');
    await writeFile(keyFile, JSON.stringify(keys), { mode: 0o600 });
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--import', at('./no-network.mjs'), at('./replay-child.mjs'), folder, bundle, keyFile],
      {
        timeout: REPLAY_MS_MAX,
        killSignal: 'SIGKILL',
        env: { PATH: process.env['PATH'], HOME: process.env['HOME'] },
      },
    );
    return stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Replayed);
  } finally {
    await rm(folder, { recursive: true });
  }
}
