import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { tenantId } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import { createKeyRing } from './key-ring.js';
import type { KeyRing, WrappedTenantKey } from './key-ring.js';

const ACME = tenantId('acme');
const GLOBEX = tenantId('globex');

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

function masterKeyFile(content = randomBytes(32).toString('base64'), mode = 0o600): string {
  const folder = mkdtempSync(join(tmpdir(), 'bulkhead-keys-'));
  folders.push(folder);
  const path = join(folder, 'master.key');
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

describe('key ring', () => {
  let rows: Map<TenantId, WrappedTenantKey>;
  let loads: number;
  let clockMs: number;
  let ring: KeyRing;

  beforeEach(() => {
    rows = new Map();
    loads = 0;
    clockMs = 0;
    ring = createKeyRing({
      masterKeyPath: masterKeyFile(),
      nowMs: () => clockMs,
      loadTenantKey: async (tenant, keyId) => {
        loads += 1;
        const row = rows.get(tenant);
        return keyId === undefined || row?.keyId === keyId ? row : undefined;
      },
    });
    rows.set(ACME, ring.newTenantKey(ACME));
    rows.set(GLOBEX, ring.newTenantKey(GLOBEX));
  });

  it('opens what it sealed, and the sealed bytes do not contain it', async () => {
    const sealed = await ring.seal(ACME, 'effect-result', Buffer.from('the answer'));
    expect(sealed.includes('the answer')).toBe(false);
    expect((await ring.open(ACME, 'effect-result', sealed)).toString()).toBe('the answer');
  });

  it('refuses a ciphertext moved to another tenant, another purpose, or changed by one bit', async () => {
    const sealed = await ring.seal(ACME, 'effect-result', Buffer.from('x'));
    const flipped = Buffer.from(sealed);
    flipped[flipped.length - 1]! ^= 1;
    const refusal = { code: 'SECRET_UNAVAILABLE' };
    await expect(ring.open(GLOBEX, 'effect-result', sealed)).rejects.toMatchObject(refusal);
    await expect(ring.open(ACME, 'effect-request', sealed)).rejects.toMatchObject(refusal);
    await expect(ring.open(ACME, 'effect-result', flipped)).rejects.toMatchObject(refusal);
    await expect(ring.open(ACME, 'effect-result', Buffer.alloc(0))).rejects.toMatchObject(refusal);
  });

  it("refuses a wrapped key that was copied from another tenant's row", async () => {
    rows.set(GLOBEX, rows.get(ACME)!);
    await expect(ring.seal(GLOBEX, 'effect-result', Buffer.from('x'))).rejects.toMatchObject({
      code: 'SECRET_UNAVAILABLE',
    });
  });

  it('keeps an unwrapped key for a minute, so a shredded tenant stops within it', async () => {
    const sealed = await ring.seal(ACME, 'p', Buffer.from('x'));
    await ring.open(ACME, 'p', sealed);
    await ring.open(ACME, 'p', sealed);
    expect(loads).toBe(2);
    rows.delete(ACME);
    clockMs += 60_001;
    await expect(ring.open(ACME, 'p', sealed)).rejects.toMatchObject({ code: 'SECRET_UNAVAILABLE' });
  });

  it('does not start with a master key that others can read, that is short, or that is missing', () => {
    const start = (masterKeyPath: string) => () =>
      createKeyRing({ masterKeyPath, loadTenantKey: async () => undefined });
    const wrong = expect.objectContaining({ code: 'WORKER_MISCONFIGURED' });
    expect(start(masterKeyFile(undefined, 0o644))).toThrow(wrong);
    expect(start(masterKeyFile(randomBytes(16).toString('base64')))).toThrow(wrong);
    expect(start('/nowhere/master.key')).toThrow(wrong);
  });
});
