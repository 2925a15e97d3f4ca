import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadApiConfig, loadControlConfig, loadHostConfig } from '@bulkhead/runtime/config';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeConfigFiles } from './config-files.js';
import type { ConfigFiles } from './config-files.js';
import { ensureKeys } from './keys.js';
import type { KeyFiles } from './keys.js';

describe('the configuration files of an installation', () => {
  let dataDir: string;
  let keys: KeyFiles;
  let files: ConfigFiles;
  const text: Record<string, string> = {};

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'bulkhead-config-'));
    keys = await ensureKeys(join(dataDir, 'keys'));
    files = await writeConfigFiles({
      dataDir,
      keys,
      ownerUrl: 'postgresql://postgres:owner-password@db.example:5433/bulkhead?sslmode=require',
      temporal: { address: '127.0.0.1:7233', uiAddress: 'http://127.0.0.1:8233', enforcesTokens: true },
      api: {
        host: '127.0.0.1',
        port: 4000,
        publicUrl: 'http://127.0.0.1:4000',
        graphiql: true,
        introspection: true,
      },
      host: { bundlePath: '/bundle.js', mcpServers: { memory: { command: 'node', args: ['memory.js'] } } },
      control: { bundlePath: '/lifecycle.js' },
      logLevel: 'info',
    });
    for (const [name, file] of Object.entries(files)) text[name] = await readFile(file, 'utf8');
  });
  afterAll(async () => {
    await rm(dataDir, { recursive: true });
  });

  it('are what the processes accept, and readable by their owner only', async () => {
    expect(loadApiConfig(files.api).role).toBe('api');
    expect(loadHostConfig(files.host).role).toBe('host');
    expect(loadControlConfig(files.control).role).toBe('control');
    for (const file of Object.values(files)) expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  it("name the user's database with the door roles' own logins, never with the owner's", async () => {
    const url = new URL(loadHostConfig(files.host).database.url);
    expect(`${url.username}@${url.host}${url.pathname}${url.search}`).toBe(
      'bulkhead_app@db.example:5433/bulkhead?sslmode=require',
    );
    expect(decodeURIComponent(url.password)).toBe((await readFile(keys.appPassword, 'utf8')).trim());
    for (const written of Object.values(text)) expect(written).not.toMatch(/owner-password|postgres:/);
  });

  it('give each process the keys that it may have (attack: a host that mints tokens or signs envelopes)', () => {
    const named = (process: string): string[] =>
      Object.entries(keys)
        .filter(([, file]) => text[process]?.includes(file))
        .map(([name]) => name);
    expect(named('api')).toEqual(['master', 'envelopeSigning']);
    expect(named('host')).toEqual(['master', 'envelopePublic']);
    expect(named('control')).toEqual(['envelopeSigning', 'temporalSigning', 'temporalJwks']);
    expect(text['host']).not.toContain('bulkhead_control');
    expect(text['control']).not.toContain('bulkhead_app');
  });

  describe('name the issuers in issuers.json', () => {
    const write = async (issuers: unknown): Promise<string> => {
      await writeFile(
        join(dataDir, 'issuers.json'),
        typeof issuers === 'string' ? issuers : JSON.stringify(issuers),
      );
      return (
        await writeConfigFiles({
          dataDir,
          keys,
          ownerUrl: 'postgresql://postgres@db.example/bulkhead',
          temporal: { address: '127.0.0.1:7233', enforcesTokens: true },
          api: {
            host: '127.0.0.1',
            port: 4000,
            publicUrl: 'http://127.0.0.1:4000',
            graphiql: true,
            introspection: false,
          },
          host: { bundlePath: '/bundle.js', mcpServers: {} },
          control: { bundlePath: '/lifecycle.js' },
          logLevel: 'info',
        })
      ).api;
    };
    const good = { issuer: 'https://login.example', audience: 'bulkhead' };

    it('as they stand, with the algorithms that are allowed', async () => {
      const { issuers } = loadApiConfig(await write([good])).api;
      expect(issuers).toEqual([{ ...good, algorithms: ['RS256', 'ES256', 'EdDSA'] }]);
    });

    it.each([
      ['keys that travel in the clear', [{ ...good, issuer: 'http://login.example' }]],
      ['a loopback address that is none', [{ ...good, issuer: 'http://127.0.0.1.login.example' }]],
      ['a loopback name before an @', [{ ...good, issuer: 'http://localhost@login.example' }]],
      ['keys elsewhere in the clear', [{ ...good, jwksUri: 'http://login.example/keys' }]],
      ['a shared secret as a signature', [{ ...good, algorithms: ['HS256'] }]],
      ['no signature at all', [{ ...good, algorithms: ['none'] }]],
      ['no algorithm', [{ ...good, algorithms: [] }]],
      ['any audience', [{ issuer: good.issuer }]],
      ['one issuer twice', [good, { ...good, audience: 'other' }]],
      ['a word that we do not know', [{ ...good, trustEverybody: true }]],
      ['no JSON', '[{'],
    ])('and refuse %s', async (_what, issuers) => {
      await expect(write(issuers)).rejects.toMatchObject({ name: 'SettingInvalid' });
    });
  });
});
