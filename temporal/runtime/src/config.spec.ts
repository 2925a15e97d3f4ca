import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadControlConfig, loadHostConfig } from './config.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'config-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const HOST = {
  role: 'host',
  database: { url: 'postgresql://bulkhead_app:hunter2-secret@127.0.0.1:5432/bulkhead', poolMax: 16 },
  temporal: { address: '127.0.0.1:7233', enforcesTokens: true, tokensDir: '/data/tokens' },
  keys: { master: '/keys/master.key', envelopePublic: '/keys/envelope-public.json' },
  host: {
    bundlePath: '/bundle.js',
    dataDir: '/data/host',
    mcpServers: { memory: { command: 'node', args: ['x.js'] } },
  },
  log: { level: 'info' },
};

function file(content: unknown): string {
  const path = join(folder, 'config.json');
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  chmodSync(path, 0o600);
  return path;
}

it('a whole host configuration is read', () => {
  expect(loadHostConfig(file(HOST))).toMatchObject({
    ...HOST,
    host: { ...HOST.host, maxCachedWorkflows: 100 },
  });
});

it('a file that others may read is refused: it holds passwords', () => {
  const path = file(HOST);
  chmodSync(path, 0o644);
  expect(() => loadHostConfig(path)).toThrow(/0600/);
});

it.each([
  [
    'a wrong password field',
    { ...HOST, database: { ...HOST.database, url: 'hunter2-secret' } },
    /database\.url/,
  ],
  ['an unknown field', { ...HOST, keys: { ...HOST.keys, temporalSigning: '/keys/x' } }, /keys/],
  [
    'no tokens at all',
    { ...HOST, temporal: { address: 'a:1', enforcesTokens: true } },
    /temporal\.tokensDir/,
  ],
  ['broken JSON', '{"database": {"url": "hunter2-secret', /not JSON/],
])('%s is named without any value', (_name, content, message) => {
  const act = () => loadHostConfig(file(content));
  expect(act).toThrow(message);
  expect(act).toThrow(expect.not.objectContaining({ message: expect.stringContaining('hunter2') as string }));
});

it('one process cannot run with another one’s file: a host never gets the signing keys', () => {
  expect(() => loadControlConfig(file(HOST))).toThrow(/role/);
});

it('a missing file and a missing name are one clear line', () => {
  expect(() => loadHostConfig(join(folder, 'absent.json'))).toThrow(/ENOENT/);
  expect(() => loadHostConfig('')).toThrow(/BULKHEAD_CONFIG/);
});
