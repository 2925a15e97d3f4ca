import { randomBytes, randomUUID } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { BulkheadError, TenantCache } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import { decrypt, encrypt, KEY_BYTES } from './aes-gcm.js';
import type { Bytes } from './aes-gcm.js';

/** A tenant's key as it is stored: readable with the master key only. */
export interface WrappedTenantKey {
  readonly keyId: string;
  readonly wrapped: Uint8Array;
}

export interface KeyRingOptions {
  /** File with 32 bytes in base64, readable by its owner only. */
  readonly masterKeyPath: string;
  /** Finds the tenant's key with that id; without an id, the active one. undefined: there is none (or it was shredded). */
  readonly loadTenantKey: (tenantId: TenantId, keyId?: string) => Promise<WrappedTenantKey | undefined>;
  /** Monotonic milliseconds; the default is the process clock. */
  readonly nowMs?: () => number;
}

/** Seals and opens with the tenants' keys, which exist unwrapped in this process's memory only. */
export interface KeyRing {
  /** Encrypts for one tenant and one purpose (`effect-result`, `approval-request`...); opening needs the same two. */
  seal(tenantId: TenantId, purpose: string, plaintext: Uint8Array): Promise<Bytes>;
  /** @throws BulkheadError SECRET_UNAVAILABLE when it was changed, belongs elsewhere, or its key is gone. */
  open(tenantId: TenantId, purpose: string, sealed: Uint8Array): Promise<Bytes>;
  /** A fresh key for a new tenant, wrapped for storing. */
  newTenantKey(tenantId: TenantId): { readonly keyId: string; readonly wrapped: Bytes };
}

/** A shredded key must stop working soon, so an unwrapped one is kept for a minute at most. */
const CACHE_MS = 60_000;
const CACHE_MAX = 1_000;
const FORMAT = 1;

/** Reads the master key once. @throws BulkheadError WORKER_MISCONFIGURED when the file is not what it must be. */
export function createKeyRing(options: KeyRingOptions): KeyRing {
  const master = readMasterKey(options.masterKeyPath);
  const nowMs = options.nowMs ?? (() => performance.now());
  const cache = new TenantCache<{ readonly keyId: string; readonly key: Bytes }>({
    max: CACHE_MAX,
    freshMs: CACHE_MS,
    nowMs,
  });

  const load = async (tenantId: TenantId, keyId?: string) => {
    const known = cache.get(tenantId, [keyId ?? null]);
    if (known?.fresh) return known.value;
    cache.delete(tenantId, [keyId ?? null]);
    const row = await options.loadTenantKey(tenantId, keyId);
    if (!row) throw unavailable(`tenant ${tenantId} has no key ${keyId ?? '(active)'}`);
    const key = guarded(() => decrypt(master, ['tenant-key', tenantId, row.keyId], row.wrapped), tenantId);
    const entry = { keyId: row.keyId, key };
    cache.set(tenantId, [keyId ?? null], entry);
    return entry;
  };

  return {
    async seal(tenantId, purpose, plaintext) {
      const { keyId, key } = await load(tenantId);
      const id = Buffer.from(keyId, 'utf8');
      return Buffer.concat([
        Buffer.from([FORMAT, id.length]),
        id,
        encrypt(key, [tenantId, purpose, keyId], plaintext),
      ]);
    },
    async open(tenantId, purpose, sealed) {
      const { keyId, body } = parse(sealed, tenantId);
      const { key } = await load(tenantId, keyId);
      return guarded(() => decrypt(key, [tenantId, purpose, keyId], body), tenantId);
    },
    newTenantKey(tenantId) {
      const keyId = randomUUID();
      return { keyId, wrapped: encrypt(master, ['tenant-key', tenantId, keyId], randomBytes(KEY_BYTES)) };
    },
  };
}

function parse(sealed: Uint8Array, tenantId: TenantId): { keyId: string; body: Uint8Array } {
  const [format, length = 0] = sealed;
  if (format !== FORMAT || sealed.length < 2 + length) throw unavailable(`not a sealed value of ${tenantId}`);
  return {
    keyId: Buffer.from(sealed.subarray(2, 2 + length)).toString('utf8'),
    body: sealed.subarray(2 + length),
  };
}

function guarded(work: () => Bytes, tenantId: TenantId): Bytes {
  try {
    return work();
  } catch (cause) {
    throw unavailable(`a sealed value of ${tenantId} does not open`, cause);
  }
}

const unavailable = (internal: string, cause?: unknown): BulkheadError =>
  new BulkheadError('SECRET_UNAVAILABLE', { internal, cause });

function readMasterKey(path: string): Buffer {
  const wrong = (internal: string, cause?: unknown): BulkheadError =>
    new BulkheadError('WORKER_MISCONFIGURED', { internal, cause });
  let text: string;
  let mode: number;
  try {
    mode = statSync(path).mode;
    text = readFileSync(path, 'utf8').trim();
  } catch (cause) {
    throw wrong(`the master key ${path} cannot be read`, cause);
  }
  if ((mode & 0o077) !== 0) throw wrong(`the master key ${path} is readable by others: chmod 600 it`);
  const key = Buffer.from(text, 'base64');
  if (key.length !== KEY_BYTES || key.toString('base64') !== text) {
    throw wrong(`the master key ${path} is not ${KEY_BYTES} bytes in base64`);
  }
  return key;
}
