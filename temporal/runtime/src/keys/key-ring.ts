import { createSecretKey, randomBytes, randomUUID } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { BulkheadError, TenantCache } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import { decrypt, encrypt, KEY_BYTES } from './aes-gcm.js';
import type { Bytes } from './aes-gcm.js';

/** A tenant's key as it is stored: readable with the master key only. */
export interface WrappedTenantKey {
  readonly keyId: string;
  /** Empty: the key was destroyed. */
  readonly wrapped: Uint8Array;
}

export interface KeyRingOptions {
  /** File with 32 bytes in base64, readable by its owner only. */
  readonly masterKeyPath: string;
  /**
   * Finds the tenant's key with that id; without an id, the one to seal with: the active one, or a destroyed one when
   * all are. undefined: there is none. It throws when it cannot tell.
   */
  readonly loadTenantKey: (tenantId: TenantId, keyId?: string) => Promise<WrappedTenantKey | undefined>;
  /** Monotonic milliseconds; the default is the process clock. */
  readonly nowMs?: () => number;
}

/** A ciphertext beside the id of its key, for those who store the two apart. */
export interface SealedParts {
  readonly keyId: string;
  /** `iv(12) tag(16) ciphertext` */
  readonly body: Uint8Array;
}

/**
 * Seals and opens with the tenants' keys, which exist unwrapped in this process's memory only. Each method throws
 * BulkheadError KEY_DESTROYED when the tenant's keys were destroyed.
 */
export interface KeyRing {
  /** Encrypts for one tenant and one purpose (`effect-result`, `approval-request`...); opening needs the same two. */
  seal(tenantId: TenantId, purpose: string, plaintext: Uint8Array): Promise<Bytes>;
  /** @throws BulkheadError SECRET_UNAVAILABLE when it was changed, belongs elsewhere, or its key is unknown. */
  open(tenantId: TenantId, purpose: string, sealed: Uint8Array): Promise<Bytes>;
  sealParts(tenantId: TenantId, purpose: string, plaintext: Uint8Array): Promise<SealedParts>;
  /** @throws BulkheadError SECRET_UNAVAILABLE as `open` does. */
  openParts(tenantId: TenantId, purpose: string, parts: SealedParts): Promise<Bytes>;
  /** A fresh key for a tenant, wrapped for storing. */
  newTenantKey(tenantId: TenantId): { readonly keyId: string; readonly wrapped: Bytes };
  /** Drops the tenant's unwrapped keys from memory; the next use reads the database. */
  forget(tenantId: TenantId): void;
}

/**
 * The tenant's key does not open with the master key that we have. That says nothing about what was to be opened, so nobody
 * may refuse it for good: the next process may have the right one.
 */
export class MasterKeyMismatch extends BulkheadError {
  constructor(internal: string, cause: unknown) {
    super('SECRET_UNAVAILABLE', { internal, cause });
  }
}

/** A key that was destroyed or retired elsewhere is noticed within this time. */
const CACHE_MS = 10_000;
/**
 * While the database does not answer, a key read before opens for so long: an outage of a minute must not fail every
 * running workflow. Nobody can destroy a key in the meantime, unless only this process is cut off.
 */
const OUTAGE_MS_MAX = 120_000;
const CACHE_MAX = 1_000;
const FORMAT = 1;

interface Unwrapped {
  readonly keyId: string;
  readonly key: KeyObject;
  readonly readAtMs: number;
}

/** Reads the master key once. @throws BulkheadError WORKER_MISCONFIGURED when the file is not what it must be. */
export function createKeyRing(options: KeyRingOptions): KeyRing {
  const master = readMasterKey(options.masterKeyPath);
  const nowMs = options.nowMs ?? (() => performance.now());
  const cache = new TenantCache<Unwrapped>({ max: CACHE_MAX, freshMs: CACHE_MS, nowMs });
  /** Counts `forget`, so that a read which began before one is not remembered after it. */
  let forgotten = 0;

  const read = async (tenantId: TenantId, keyId?: string): Promise<Unwrapped> => {
    const before = forgotten;
    const row = await options.loadTenantKey(tenantId, keyId);
    if (!row) throw unavailable(`tenant ${tenantId} has no key ${keyId ?? '(active)'}`);
    if (row.wrapped.length === 0) {
      cache.deleteTenant(tenantId);
      throw new BulkheadError('KEY_DESTROYED', { internal: `key ${row.keyId} of ${tenantId} is destroyed` });
    }
    const key = unwrap(master, tenantId, row);
    const unwrapped = { keyId: row.keyId, key, readAtMs: nowMs() };
    if (before === forgotten) cache.set(tenantId, [keyId ?? null], unwrapped);
    return unwrapped;
  };

  /** What was read before, where the database cannot say what holds now; otherwise its error. */
  const inOutage = (tenantId: TenantId, keyId: string | undefined, error: unknown): Unwrapped => {
    const known = cache.get(tenantId, [keyId ?? null])?.value;
    const isOutage = error instanceof BulkheadError && error.code === 'DATABASE_UNAVAILABLE';
    if (!known || !isOutage) throw error;
    // sealing needs no bound: with a key that is gone by now, it seals what nobody can open
    if (keyId !== undefined && nowMs() - known.readAtMs >= OUTAGE_MS_MAX) throw error;
    cache.set(tenantId, [keyId ?? null], known); // asked again after CACHE_MS, not at each payload
    return known;
  };

  /** What needs no question is not waited for: a call seals and opens a dozen values. */
  const fresh = (tenantId: TenantId, keyId?: string): Unwrapped | undefined => {
    const known = cache.get(tenantId, [keyId ?? null]);
    return known?.fresh ? known.value : undefined;
  };
  const ask = (tenantId: TenantId, keyId?: string): Promise<Unwrapped> =>
    read(tenantId, keyId).catch((error: unknown) => inOutage(tenantId, keyId, error));

  const sealParts: KeyRing['sealParts'] = async (tenantId, purpose, plaintext) => {
    const { keyId, key } = fresh(tenantId) ?? (await ask(tenantId));
    return { keyId, body: encrypt(key, [tenantId, purpose, keyId], plaintext) };
  };
  const openParts: KeyRing['openParts'] = async (tenantId, purpose, { keyId, body }) => {
    const { key } = fresh(tenantId, keyId) ?? (await ask(tenantId, keyId));
    return guarded(() => decrypt(key, [tenantId, purpose, keyId], body), tenantId);
  };

  return {
    sealParts,
    openParts,
    async seal(tenantId, purpose, plaintext) {
      const { keyId, key } = fresh(tenantId) ?? (await ask(tenantId));
      const body = encrypt(key, [tenantId, purpose, keyId], plaintext);
      const id = Buffer.from(keyId, 'utf8');
      return Buffer.concat([Buffer.from([FORMAT, id.length]), id, body]);
    },
    async open(tenantId, purpose, sealed) {
      const { keyId, body } = parse(sealed, tenantId);
      const { key } = fresh(tenantId, keyId) ?? (await ask(tenantId, keyId));
      return guarded(() => decrypt(key, [tenantId, purpose, keyId], body), tenantId);
    },
    newTenantKey(tenantId) {
      const keyId = randomUUID();
      return { keyId, wrapped: encrypt(master, ['tenant-key', tenantId, keyId], randomBytes(KEY_BYTES)) };
    },
    forget(tenantId) {
      forgotten += 1;
      cache.deleteTenant(tenantId);
    },
  };
}

function parse(sealed: Uint8Array, tenantId: TenantId): SealedParts {
  const [format, length = 0] = sealed;
  if (format !== FORMAT || sealed.length < 2 + length) throw unavailable(`not a sealed value of ${tenantId}`);
  return {
    keyId: Buffer.from(sealed.subarray(2, 2 + length)).toString('utf8'),
    body: sealed.subarray(2 + length),
  };
}

function unwrap(master: Buffer, tenantId: TenantId, { keyId, wrapped }: WrappedTenantKey): KeyObject {
  let bytes: Bytes;
  try {
    bytes = decrypt(master, ['tenant-key', tenantId, keyId], wrapped);
  } catch (cause) {
    throw new MasterKeyMismatch(`key ${keyId} of ${tenantId} does not open with this master key`, cause);
  }
  const key = createSecretKey(bytes); // prepared once, with a copy of its own
  bytes.fill(0);
  return key;
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
