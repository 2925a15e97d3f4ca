import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { BulkheadError, tenantId } from '@bulkhead/contract';
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
  let fault: Error | undefined;
  let ring: KeyRing;
  let masterKey: string;
  let told: TenantId[];

  beforeEach(() => {
    masterKey = masterKeyFile();
    told = [];
    rows = new Map();
    loads = 0;
    clockMs = 0;
    fault = undefined;
    ring = createKeyRing({
      masterKeyPath: masterKey,
      onUnavailable: (tenant) => told.push(tenant),
      nowMs: () => clockMs,
      loadTenantKey: async (tenant, keyId) => {
        loads += 1;
        if (fault) throw fault;
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
      code: 'KEY_UNAVAILABLE',
    });
  });

  it('keeps an unwrapped key for ten seconds, so a key that was taken away stops within them', async () => {
    const sealed = await ring.seal(ACME, 'p', Buffer.from('x'));
    await ring.open(ACME, 'p', sealed);
    await ring.open(ACME, 'p', sealed);
    expect(loads).toBe(2);
    rows.delete(ACME);
    clockMs += 10_001;
    await expect(ring.open(ACME, 'p', sealed)).rejects.toMatchObject({ code: 'KEY_UNAVAILABLE' });
  });

  it('a key that was taken away is told and is no verdict; what nobody has is one; it is back when it is back', async () => {
    const sealed = await ring.seal(ACME, 'p', Buffer.from('x'));
    const key = rows.get(ACME)!;
    rows.set(ACME, ring.newTenantKey(ACME));
    await expect(ring.open(ACME, 'p', sealed)).rejects.toMatchObject({ code: 'SECRET_UNAVAILABLE' });
    expect(told).toEqual([]);
    rows.delete(ACME);
    const away = { code: 'KEY_UNAVAILABLE' };
    await expect(ring.open(ACME, 'p', sealed)).rejects.toMatchObject(away);
    await expect(ring.check(ACME)).rejects.toMatchObject(away);
    expect(told).toEqual([ACME, ACME]);
    rows.set(ACME, key);
    await ring.check(ACME);
    expect((await ring.open(ACME, 'p', sealed)).toString()).toBe('x');
  });

  it('a master key that is taken away or replaced ends within ten seconds, and counts again when it is back', async () => {
    const sealed = await ring.seal(ACME, 'p', Buffer.from('x'));
    const text = readFileSync(masterKey, 'utf8');
    for (const spoil of [
      () => rmSync(masterKey),
      () => writeFileSync(masterKey, 'other'),
      () => chmodSync(masterKey, 0o644),
    ]) {
      spoil();
      await expect(ring.check(ACME)).rejects.toMatchObject({ code: 'KEY_UNAVAILABLE' });
      clockMs += 10_001;
      await expect(ring.open(ACME, 'p', sealed)).rejects.toMatchObject({ code: 'KEY_UNAVAILABLE' });
      writeFileSync(masterKey, text);
      chmodSync(masterKey, 0o600);
      expect((await ring.open(ACME, 'p', sealed)).toString()).toBe('x');
    }
  });

  it('a destroyed key opens and seals nothing from the next read on, and its other keys are forgotten with it', async () => {
    const sealed = await ring.seal(ACME, 'p', Buffer.from('x'));
    await ring.open(ACME, 'p', sealed);
    rows.set(ACME, { keyId: rows.get(ACME)!.keyId, wrapped: Buffer.alloc(0) });
    expect((await ring.open(ACME, 'p', sealed)).toString()).toBe('x'); // within the ten seconds
    clockMs += 10_001;
    const gone = { code: 'KEY_DESTROYED' };
    await expect(ring.open(ACME, 'p', sealed)).rejects.toMatchObject(gone);
    await expect(ring.seal(ACME, 'p', Buffer.from('y'))).rejects.toMatchObject(gone);
  });

  it('forgets at once when told, also what was being read at that moment', async () => {
    const sealed = await ring.seal(ACME, 'p', Buffer.from('x'));
    const reading = ring.open(ACME, 'p', sealed);
    ring.forget(ACME);
    rows.set(ACME, { keyId: rows.get(ACME)!.keyId, wrapped: Buffer.alloc(0) });
    await reading;
    await expect(ring.open(ACME, 'p', sealed)).rejects.toMatchObject({ code: 'KEY_DESTROYED' });
    await expect(ring.seal(ACME, 'p', Buffer.from('y'))).rejects.toMatchObject({ code: 'KEY_DESTROYED' });
  });

  it('survives an outage of the database: opens for two minutes, seals for as long as it lasts', async () => {
    const away = new BulkheadError('DATABASE_UNAVAILABLE');
    const sealed = await ring.seal(ACME, 'p', Buffer.from('x'));
    await ring.open(ACME, 'p', sealed);
    fault = away;
    clockMs += 119_000;
    expect((await ring.open(ACME, 'p', sealed)).toString()).toBe('x');
    clockMs += 10_001;
    await expect(ring.open(ACME, 'p', sealed)).rejects.toBe(away);
    const during = await ring.seal(ACME, 'p', Buffer.from('y'));
    await expect(ring.seal(GLOBEX, 'p', Buffer.from('z'))).rejects.toBe(away); // never read: nothing to seal with
    fault = undefined;
    expect((await ring.open(ACME, 'p', during)).toString()).toBe('y');
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
