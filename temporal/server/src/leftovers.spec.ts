import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { AlreadyRunning, endLeftovers, recordChild } from './leftovers.js';

let folder: string;
const started: ChildProcess[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bulkhead-leftovers-'));
});
afterEach(async () => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
  await rm(folder, { recursive: true });
});

async function sleeper(): Promise<ChildProcess & { pid: number }> {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000)'], { detached: true });
  started.push(child);
  await once(child, 'spawn');
  return child as ChildProcess & { pid: number };
}

/** Records `child` as if `launcher` had started it. */
async function record(child: { pid: number }, launcher: { pid: number }): Promise<string> {
  const file = recordChild(folder, 'server', child.pid, 'SIGTERM');
  const other = recordChild(folder, 'launcher', launcher.pid, 'SIGTERM');
  const { began } = JSON.parse(await readFile(other, 'utf8')) as { began: string };
  const written = JSON.parse(await readFile(file, 'utf8')) as object;
  await writeFile(file, JSON.stringify({ ...written, launcher: { pid: launcher.pid, began } }));
  await rm(other);
  return file;
}

it('ends the child of a launcher that was killed, says so, and forgets it', async () => {
  const launcher = await sleeper();
  const child = await sleeper();
  await record(child, launcher);
  launcher.kill('SIGKILL');
  await once(launcher, 'exit');

  const said: string[] = [];
  const ended = once(child, 'exit');
  await endLeftovers(folder, (line) => said.push(line));
  expect(await ended).toEqual([null, 'SIGTERM']);
  expect(said).toEqual([`ending server (pid ${child.pid}), which an earlier start left behind`]);
  expect(await readdir(folder)).toEqual([]);
});

it('touches nothing and refuses while the other launcher lives', async () => {
  const launcher = await sleeper();
  const child = await sleeper();
  await record(child, launcher);
  await expect(endLeftovers(folder, () => undefined)).rejects.toThrow(AlreadyRunning);
  await expect(endLeftovers(folder, () => undefined)).rejects.toThrow(
    `the process ${launcher.pid} runs on it`,
  );
  expect(child.exitCode ?? child.signalCode).toBeNull();
});

it('leaves a stranger alone that got the pid of a recorded child', async () => {
  const launcher = await sleeper();
  const stranger = await sleeper();
  const file = await record(stranger, launcher);
  const written = JSON.parse(await readFile(file, 'utf8')) as object;
  await writeFile(file, JSON.stringify({ ...written, began: 'another boot 12345' }));
  launcher.kill('SIGKILL');
  await once(launcher, 'exit');

  await endLeftovers(folder, () => undefined);
  expect(stranger.exitCode ?? stranger.signalCode).toBeNull();
  expect(await readdir(folder)).toEqual([]);
});

it('leaves the children of this very process alone', async () => {
  const child = await sleeper();
  recordChild(folder, 'server', child.pid, 'SIGTERM');
  await endLeftovers(folder, () => undefined);
  expect(child.exitCode ?? child.signalCode).toBeNull();
  expect(await readdir(folder)).toEqual([`server-${child.pid}.pid`]);
});

it('is content with a folder that is not there yet', async () => {
  await expect(endLeftovers(join(folder, 'none'), () => undefined)).resolves.toBeUndefined();
});
