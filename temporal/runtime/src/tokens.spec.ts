import { createPublicKey, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { tenantId } from '@bulkhead/contract';
import { openTokenRoot, PLATFORM } from './token-keys.js';
import {
  createFileTokenSource,
  createKeyedMinter,
  createTokenMinter,
  createTokenWriter,
  openTokenSource,
} from './tokens.js';

const ACME = tenantId('acme');
let folder: string;
let signingKeyPath: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tokens-'));
  signingKeyPath = join(folder, 'root.key');
  writeFileSync(signingKeyPath, randomBytes(32).toString('base64'));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('the minter', () => {
  it('gives a tenant exactly one permission, in its own namespace, for the time asked', async () => {
    const minter = createTokenMinter({ signingKeyPath, ttlSeconds: 60 });
    const key = openTokenRoot(signingKeyPath).key(PLATFORM, 1);
    const publicKey = createPublicKey({ key: key.jwk, format: 'jwk' });
    const { payload, protectedHeader } = await jwtVerify(minter.tenant(ACME, 'write'), publicKey, {
      algorithms: ['ES256'],
    });
    expect(payload).toMatchObject({ sub: 'tenant:acme', permissions: ['tnt-acme:write'] });
    expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(60);
    expect(protectedHeader.kid).toBe(key.kid);
  });

  it("signs a tenant's tokens with the tenant's own key and names who holds them", () => {
    const root = openTokenRoot(signingKeyPath);
    const minter = createKeyedMinter({ keyOf: (owner) => root.key(owner, 7), ttlSeconds: 60 });
    const decoded = (token: string): unknown[] =>
      token
        .split('.')
        .slice(0, 2)
        .map((text) => JSON.parse(Buffer.from(text, 'base64url').toString()) as unknown);
    expect(decoded(minter.tenant(ACME, 'write', 'host:h-1'))).toMatchObject([
      { kid: root.key(ACME, 7).kid },
      { sub: 'host:h-1' },
    ]);
    expect(decoded(minter.system('admin'))).toMatchObject([
      { kid: root.key(PLATFORM, 7).kid },
      { sub: 'control' },
    ]);
  });

  it('refuses a tenant that would smuggle in another permission', () => {
    const minter = createTokenMinter({ signingKeyPath, ttlSeconds: 60 });
    expect(() => minter.tenant('acme:write","temporal-system' as typeof ACME, 'write')).toThrow(/tenantId/);
  });
});

describe('token files', () => {
  it('are private, complete, and list the tenants', async () => {
    const dir = join(folder, 'files');
    const writer = createTokenWriter({ dir });
    await writer.tenant(ACME, 'write', 'one');
    await writer.tenant(ACME, 'write', 'two');
    await writer.tenant(tenantId('globex'), 'read', 'three');
    const source = createFileTokenSource({ dir });
    expect(await source.get(ACME, 'write')).toBe('two');
    expect(await source.tenants('write')).toEqual(['acme']);
    for (const name of readdirSync(dir)) expect(statSync(join(dir, name)).mode & 0o777).toBe(0o600);
  });

  it('a tenant called "system" never reads the token of the whole cluster', async () => {
    const dir = join(folder, 'system');
    const writer = createTokenWriter({ dir });
    await writer.system('read', 'cluster');
    const source = createFileTokenSource({ dir });
    await expect(source.get(tenantId('system'), 'read')).rejects.toMatchObject({
      code: 'TEMPORAL_UNAVAILABLE',
    });
    await writer.tenant(tenantId('system'), 'read', 'own');
    expect(await source.system('read')).toBe('cluster');
  });

  it('tell a reader that they changed', async () => {
    const dir = join(folder, 'watched');
    const writer = createTokenWriter({ dir });
    await writer.tenant(ACME, 'write', 'one');
    const changed = vi.fn<() => void>();
    const stop = createFileTokenSource({ dir }).onChange(changed);
    await writer.tenant(ACME, 'write', 'two');
    await vi.waitFor(() => expect(changed).toHaveBeenCalled());
    stop();
  });

  it('tell a reader that came before the folder', async () => {
    const parent = join(folder, 'parent');
    mkdirSync(parent);
    const dir = join(parent, 'later');
    const changed = vi.fn<() => void>();
    const stop = createFileTokenSource({ dir }).onChange(changed);
    const writer = createTokenWriter({ dir });
    await writer.tenant(ACME, 'write', 'one');
    await vi.waitFor(() => expect(changed).toHaveBeenCalled());
    changed.mockClear();
    await writer.tenant(ACME, 'write', 'two');
    await vi.waitFor(() => expect(changed).toHaveBeenCalled());
    stop();
  });

  it('that are taken away are gone for whoever reads them', async () => {
    const dir = join(folder, 'removed');
    const writer = createTokenWriter({ dir });
    await writer.tenant(ACME, 'write', 'one');
    await writer.remove(ACME, 'write');
    await writer.remove(ACME, 'write');
    const source = createFileTokenSource({ dir });
    expect(await source.tenants('write')).toEqual([]);
    await expect(source.get(ACME, 'write')).rejects.toMatchObject({ code: 'TEMPORAL_UNAVAILABLE' });
  });

  it('of a foreign server are one token for everybody, and the folder still lists the tenants', async () => {
    const apiKeyFile = join(folder, 'api.key');
    writeFileSync(apiKeyFile, 'shared\n');
    const dir = join(folder, 'roster');
    await createTokenWriter({ dir }).tenant(ACME, 'write', 'unused');
    const source = openTokenSource({ address: 'x:7233', enforcesTokens: true, apiKeyFile, tokensDir: dir });
    expect(await source.get(ACME, 'write')).toBe('shared');
    expect(await source.tenants('write')).toEqual(['acme']);
  });
});
