import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** As test/proofs/main.mjs writes it; a figure that is not built yet has `missing`. */
export interface OtherFigure {
  readonly id: string;
  readonly pass: boolean;
  readonly [more: string]: unknown;
}

const RUNNER = fileURLToPath(new URL('../proofs/main.mjs', import.meta.url));

/** The figures that need no Temporal run in the servers of the proofs. Their lines are printed as they come. */
export async function otherFigures(ids: readonly string[], stop: AbortSignal): Promise<OtherFigure[]> {
  if (ids.length === 0) return [];
  const folder = await mkdtemp(join(tmpdir(), 'bench-'));
  try {
    const json = join(folder, 'figures.json');
    const runner = fork(RUNNER, ['--bench', ...ids, '--json', json], { execArgv: [] });
    const onStop = (): boolean => runner.kill('SIGTERM');
    stop.addEventListener('abort', onStop, { once: true });
    await once(runner, 'exit'); // 1 says that a goal was missed, which the file says as well
    stop.removeEventListener('abort', onStop);
    stop.throwIfAborted();
    return JSON.parse(await readFile(json, 'utf8')) as OtherFigure[];
  } finally {
    await rm(folder, { recursive: true });
  }
}
