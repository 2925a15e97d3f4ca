import { rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { performance } from 'node:perf_hooks';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dataFolder, launch, printed, processesOf, signalOf } from '../support/installation.js';

/** `npm start` as a user meets it. Nothing is imported from the product: only what it prints and how it exits. */
let dataDir: string;

beforeAll(async () => {
  dataDir = await dataFolder();
});
afterAll(async () => {
  await rm(dataDir, { recursive: true, force: true });
});

describe('npm start -- --once', () => {
  it('tells the story of the README, exits 0 and leaves no process; the second time from the same data within 20 s', async () => {
    const first = launch(['--once', '--data', dataDir]);
    expect(await first.exit, first.output()).toBe(0);
    const said = first.output();
    for (const text of [
      'applied the database schema',
      'one token per tenant enforced',
      'the model is SCRIPTED',
      'approval_required  Rule writes-need-approval',
      'rule no-external-destinations',
      '/graphiql',
      '/sign-in?token=',
    ]) {
      expect(said).toContain(text);
    }
    expect(said.match(/is completed/g)).toHaveLength(2);
    expect(await processesOf(dataDir)).toEqual([]);

    const began = performance.now();
    const second = launch(['--once', '--data', dataDir]);
    expect(await second.exit, second.output()).toBe(0);
    expect(second.output()).toContain('the database schema is up to date');
    console.log(
      `second start to the end of the demo and of every process: ${((performance.now() - began) / 1000).toFixed(1)} s`,
    );
    const seconds = Number(/from start to here ([\d.]+) s/.exec(second.output())?.[1]);
    expect(seconds).toBeLessThanOrEqual(20);
  }, 120_000);
});

describe('Ctrl-C', () => {
  it('stops everything that was started and nothing else', async () => {
    const bystander = createServer().listen(0, '127.0.0.1');
    const { child, output, exit } = launch(['--data', dataDir]);
    await printed(output, 'Ctrl-C stops everything.');
    expect((await processesOf(dataDir)).length).toBeGreaterThan(5);
    child.kill('SIGINT');
    expect(await exit, output()).toBe(0);
    expect(await processesOf(dataDir)).toEqual([]);
    expect(bystander.listening).toBe(true);
    bystander.close();
  }, 120_000);

  it('in the middle of a start leaves nothing either', async () => {
    const { child, output, exit } = launch(['--data', dataDir]);
    await printed(output, 'PostgreSQL is ready');
    child.kill('SIGINT');
    expect(await exit, output()).toBe(0);
    expect(await processesOf(dataDir)).toEqual([]);
  }, 120_000);
});

/** One line for a person and a non-zero exit: no stack, nothing left running. */
async function expectRefusal(
  args: readonly string[],
  env: Record<string, string>,
  line: RegExp,
): Promise<void> {
  const { output, exit } = launch(args, env);
  expect(await exit, output()).toBe(1);
  const lines = output().trim().split('\n');
  expect(lines.at(-1)).toMatch(line);
  expect(output()).not.toMatch(/^\s+at |pass-word/m);
  expect(await processesOf(dataDir)).toEqual([]);
}

describe('a start that cannot be', () => {
  it('names the variable that moves it away from a taken port', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
    const { port } = taken.address() as AddressInfo;
    const line = new RegExp(`port ${port} \\(API\\) is taken.*BULKHEAD_API_PORT`);
    await expectRefusal(['--data', dataDir], { BULKHEAD_API_PORT: String(port) }, line);
    taken.close();
  });

  it.each([
    [
      'a port that is none',
      ['--once'],
      { BULKHEAD_API_PORT: 'http' },
      /BULKHEAD_API_PORT=http is not a port number/,
    ],
    [
      'a model without a key',
      ['--once'],
      { BULKHEAD_MODEL_URL: 'http://127.0.0.1:1/v1' },
      /BULKHEAD_MODEL_KEY_FILE/,
    ],
    [
      'a database of one’s own without a Temporal',
      ['--once'],
      { DATABASE_URL: 'postgresql://u@127.0.0.1:1/x' },
      /DATABASE_URL set, TEMPORAL_ADDRESS must be set too/,
    ],
    [
      'a database of one’s own that does not answer',
      ['--once'],
      { DATABASE_URL: 'postgresql://u:pass-word@127.0.0.1:1/x', TEMPORAL_ADDRESS: '127.0.0.1:1' },
      /^DATABASE_URL, the server 127\.0\.0\.1:1: .*ECONNREFUSED/,
    ],
    [
      'a database address that is none',
      ['--once'],
      { DATABASE_URL: 'pass-word', TEMPORAL_ADDRESS: '127.0.0.1:1' },
      /^DATABASE_URL is no address/,
    ],
    ['an unknown flag', ['--onse'], {}, /--onse/],
  ])('says so in one line: %s', async (_, args, env, line) => {
    await expectRefusal([...args, '--data', dataDir], env, line);
  });
});

it('a child that dies is one clear line, a non-zero exit, and nothing left running', async () => {
  const { output, exit } = launch(['--data', dataDir]);
  await printed(output, 'Ctrl-C stops everything.');
  const api = (await processesOf(dataDir)).find(({ command }) => command.includes('apps/api/dist/main.js'));
  if (!api) throw new Error('the API does not run');
  signalOf(api.pid, 'SIGKILL');
  expect(await exit, output()).toBe(1);
  expect(output()).toMatch(/^api ended unexpectedly \(killed\): /m);
  expect(output()).not.toMatch(/^\s+at /m);
  expect(await processesOf(dataDir)).toEqual([]);
}, 120_000);

it('--help lists every flag and variable', async () => {
  const { output, exit } = launch(['--help']);
  expect(await exit).toBe(0);
  for (const word of [
    '--once',
    '--fresh',
    '--data',
    '--json',
    'DATABASE_URL',
    'TEMPORAL_ADDRESS',
    'BULKHEAD_MODEL_URL',
    'BULKHEAD_API_PORT',
  ]) {
    expect(output()).toContain(word);
  }
});
