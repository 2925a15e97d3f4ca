import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { temporal } from '@temporalio/proto';
import { workflowBundlePath } from '@bulkhead/workflows/bundle';

export interface Recorded {
  readonly workflowId: string;
  readonly history: temporal.api.history.v1.IHistory;
}
export interface Replayed {
  readonly workflowId: string;
  readonly error: string | null;
}

const REPLAY_MS_MAX = 60_000;
const at = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/**
 * Replays histories in a process of its own that has no network and a hard time limit.
 * @throws Error when the child used the network (exit code 99), took too long or broke.
 */
export async function replay(
  recorded: readonly Recorded[],
  bundle = workflowBundlePath(),
): Promise<Replayed[]> {
  const folder = await mkdtemp(join(tmpdir(), 'bulkhead-replay-'));
  try {
    for (const { workflowId, history } of recorded) {
      const bytes = temporal.api.history.v1.History.encode(history).finish();
      await writeFile(join(folder, `${encodeURIComponent(workflowId)}.bin`), bytes, { mode: 0o600 });
    }
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--import', at('./no-network.mjs'), at('./replay-child.mjs'), folder, bundle],
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
