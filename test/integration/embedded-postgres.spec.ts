import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { startPostgres } from '@bulkhead/tools/stack';

const FOLDER = fileURLToPath(new URL('../../.data/', import.meta.url));

it('starts although a stranger has the pid that a dead server left in its lock file', async () => {
  await mkdir(FOLDER, { recursive: true });
  const root = await mkdtemp(join(FOLDER, 'postgres-'));
  const options = {
    dataDir: join(root, 'postgres'),
    fast: true,
    log: () => undefined,
    onExit: () => undefined, // an end while starting is thrown
  };
  const lock = join(root, 'postgres', 'cluster', 'postmaster.pid');
  const first = await startPostgres(options);
  const left = await readFile(lock, 'utf8');
  await first.stop();

  // of the server's own user, or it would know by itself that this cannot be a server
  const uid = process.getuid?.() === 0 ? { uid: (await stat(join(root, 'postgres', 'cluster'))).uid } : {};
  const stranger = spawn('sleep', ['60'], { stdio: 'ignore', ...uid });
  await once(stranger, 'spawn');
  await writeFile(lock, left.replace(/^\d+/, String(stranger.pid)));
  try {
    const second = await startPostgres(options);
    expect(await readFile(lock, 'utf8')).toMatch(new RegExp(`^${second.pid}\\n`));
    await second.stop();
    expect(stranger.exitCode).toBeNull();
  } finally {
    stranger.kill();
    await rm(root, { recursive: true });
  }
}, 60_000);
