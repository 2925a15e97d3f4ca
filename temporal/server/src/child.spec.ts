import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Child } from './child.js';
import type { ChildOptions } from './child.js';

let folder: string;
const running: Child[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bulkhead-child-'));
});
afterEach(async () => {
  for (const child of running.splice(0)) await child.stop();
  await rm(folder, { recursive: true });
});

/** Runs a line of JavaScript as a child. */
async function start(code: string, options: Partial<ChildOptions> = {}): Promise<Child> {
  const child = await Child.start({
    name: 'example',
    command: process.execPath,
    args: ['-e', code],
    logFile: join(folder, 'example.log'),
    ipc: true,
    onExit: () => undefined,
    ...options,
  });
  running.push(child);
  return child;
}

const READY = "process.send({ type: 'ready', port: 7 });";
const FOREVER = 'setInterval(() => undefined, 1000);';

it('hands out what the child says when it is ready', async () => {
  const child = await start(`${READY} ${FOREVER}`);
  expect(await child.ready(5_000)).toEqual({ type: 'ready', port: 7 });
});

it('tells why a child ended before it was ready, in one line', async () => {
  const child = await start("console.error('first'); console.error('no licence'); process.exit(3)");
  await expect(child.ready(5_000)).rejects.toThrow('example ended while starting: first | no licence');
});

it('tells that a child stays silent, and its end is still awaited by stop', async () => {
  const child = await start(FOREVER);
  await expect(child.ready(200)).rejects.toThrow('example was not ready in 0.2 s');
  await child.stop();
  expect(child.hasEnded).toBe(true);
});

it('tells a full disk as a full disk', async () => {
  const child = await start("console.error('write ENOSPC: no space'); process.exit(1)");
  await expect(child.ready(5_000)).rejects.toThrow('example ended while starting: the disk is full');
});

it('tells a program that is not there', async () => {
  const child = await start('', { command: join(folder, 'missing') });
  await expect(child.ready(5_000)).rejects.toThrow(/missing does not run \(ENOENT\)/);
});

it('reports an end that nobody asked for, once, with code and last words', async () => {
  const told = Promise.withResolvers<unknown[]>();
  const child = await start(
    `${READY} setTimeout(() => { console.error('out of luck'); process.exit(9) }, 50)`,
    {
      onExit: (...all) => told.resolve(all),
    },
  );
  await child.ready(5_000);
  expect(await told.promise).toEqual(['example', 9, 'out of luck']);
});

it('does not report an end that was asked for, and leaves no record of the child', async () => {
  const ends: string[] = [];
  const child = await start(`${READY} ${FOREVER}`, { onExit: (name) => ends.push(name) });
  await child.ready(5_000);
  expect(await readdir(folder)).toContain(`example-${child.pid}.pid`);
  await child.stop();
  expect(ends).toEqual([]);
  expect(await readdir(folder)).toEqual(['example.log']);
});

it('gives the child nothing of the environment that could hold a secret (attack: reading /proc/<pid>/environ)', async () => {
  process.env['EXAMPLE_API_KEY'] = 'sk-of-the-launcher';
  const child = await start(`console.log(JSON.stringify(process.env)); ${READY} ${FOREVER}`, {
    env: { BULKHEAD_CONFIG: '/x' },
  });
  delete process.env['EXAMPLE_API_KEY'];
  await child.ready(5_000);
  const names = Object.keys(JSON.parse(await readFile(join(folder, 'example.log'), 'utf8')) as object);
  const allowed = ['PATH', 'HOME', 'LANG', 'TZ', 'BULKHEAD_CONFIG', 'NODE_OPTIONS', 'NODE_EXTRA_CA_CERTS'];
  const byNode = ['NODE_CHANNEL_FD', 'NODE_CHANNEL_SERIALIZATION_MODE'];
  expect(names.filter((name) => ![...allowed, ...byNode].includes(name))).toEqual([]);
  expect(names).toContain('BULKHEAD_CONFIG');
});

it('keeps the log readable by its owner only', async () => {
  await start(FOREVER);
  expect((await stat(join(folder, 'example.log'))).mode & 0o777).toBe(0o600);
});
