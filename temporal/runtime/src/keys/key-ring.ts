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
  /** Told whenever the key to seal with is found unavailable; must neither throw nor wait. */
  readonly onUnavailable?: (tenantId: TenantId) => void;
}

/** A ciphertext beside the id of its key, for those who store the two apart. */
export interface SealedParts {
  readonly keyId: string;
  /** `iv(12) tag(16) ciphertext` */
  readonly body: Uint8Array;
}

/**
 * Seals and opens with the tenants' keys, which exist unwrapped in this process's memory only. Each method throws
 * BulkheadError KEY_DESTROYED when the tenant's keys were destroyed, and KEY_UNAVAILABLE while the tenant has no key, or the
 * master key is missing or does not open it. That says nothing about what was to be opened, so nobody may refuse it for
 * good; when the key is back, the next call finds it.
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
  /** Whether the tenant's key can be had now, whatever this process remembers. @throws as the others do. */
  check(tenantId: TenantId): Promise<void>;
  /** Drops the tenant's unwrapped keys from memory; the next use reads the database. */
  forget(tenantId: TenantId): void;
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

/**
 * Reads the master key now, and again whenever a tenant's key is read: one that is taken away or put back counts within
 * seconds. @throws BulkheadError WORKER_MISCONFIGURED when the file is not what it must be at the start.
 */
export function createKeyRing(options: KeyRingOptions): KeyRing {
  readMasterKey(options.masterKeyPath);
  const nowMs = options.nowMs ?? (() => performance.now());
  const cache = new TenantCache<Unwrapped>({ max: CACHE_MAX, freshMs: CACHE_MS, nowMs });
  /** Counts `forget`, so that a read which began before one is not remembered after it. */
  let forgotten = 0;

  /** What needs the master key, as it is now. */
  const withMaster = <T>(tenantId: TenantId, work: (master: Buffer) => T): T => {
    try {
      return work(readMasterKey(options.masterKeyPath));
    } catch (cause) {
      throw lost(`the master key of this process does not do for ${tenantId}`, cause);
    }
  };
  const unwrap = (tenantId: TenantId, { keyId, wrapped }: WrappedTenantKey): KeyObject =>
    withMaster(tenantId, (master) => keyOf(decrypt(master, ['tenant-key', tenantId, keyId], wrapped)));

  const load = async (tenantId: TenantId, keyId?: string): Promise<WrappedTenantKey> => {
    const row = await options.loadTenantKey(tenantId, keyId);
    if (row) return row;
    // an id that nobody has is somebody's invention, unless the tenant's keys are not there at all
    if (keyId !== undefined && (await options.loadTenantKey(tenantId)))
      throw unavailable(`tenant ${tenantId} has no key ${keyId}`);
    throw lost(`tenant ${tenantId} has no key`);
  };

  const read = async (tenantId: TenantId, keyId?: string): Promise<Unwrapped> => {
    try {
      return await readNow(tenantId, keyId);
    } catch (error) {
      if (!isLost(error)) throw error;
      if (keyId === undefined) options.onUnavailable?.(tenantId);
      // one key that cannot be used is not the tenant's work stopped: that is told when the key to seal with is gone, too
      else await read(tenantId).catch(() => undefined);
      throw error;
    }
  };

  const readNow = async (tenantId: TenantId, keyId?: string): Promise<Unwrapped> => {
    const before = forgotten;
    const row = await load(tenantId, keyId);
    if (row.wrapped.length === 0) {
      cache.deleteTenant(tenantId);
      throw new BulkheadError('KEY_DESTROYED', { internal: `key ${row.keyId} of ${tenantId} is destroyed` });
    }
    const key = unwrap(tenantId, row);
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
      return {
        keyId,
        wrapped: withMaster(tenantId, (master) =>
          encrypt(master, ['tenant-key', tenantId, keyId], randomBytes(KEY_BYTES)),
        ),
      };
    },
    async check(tenantId) {
      await read(tenantId);
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

/** Prepared once, with a copy of its own. */
function keyOf(bytes: Bytes): KeyObject {
  const key = createSecretKey(bytes);
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

const lost = (internal: string, cause?: unknown): BulkheadError =>
  new BulkheadError('KEY_UNAVAILABLE', { internal, cause });
const isLost = (error: unknown): boolean =>
  error instanceof BulkheadError && error.code === 'KEY_UNAVAILABLE';

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
