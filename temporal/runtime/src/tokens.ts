import { createHash, createPrivateKey, createPublicKey, randomBytes, sign } from 'node:crypto';
import { readFileSync, watch } from 'node:fs';
import { mkdir, readFile, readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BulkheadError, placementOf, tenantId as parseTenantId } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import type { TemporalConfig } from './config.js';

/**
 * Temporal tokens. The control process alone mints them and leaves them in a folder; hosts and API only read. A token
 * names one namespace, so a leaked one opens one tenant, and only until it ends.
 */

export type TokenRole = 'read' | 'write';

export interface TokenMinter {
  /** One namespace, one role. Polling and completing tasks need `write` (the server's role `worker` opens nothing). */
  tenant(tenantId: TenantId, role: TokenRole): string;
  /** The whole cluster: `admin` stays in the control process's memory, `read` is for Temporal UI's three reads. */
  system(role: 'read' | 'admin'): string;
}

/**
 * @param options.signingKeyPath RSA private key, PKCS#8 PEM; the server reads the public half.
 * @param options.ttlSeconds how long a token opens anything; the server refuses it afterwards.
 */
export function createTokenMinter(options: {
  readonly signingKeyPath: string;
  readonly ttlSeconds: number;
  readonly nowMs?: () => number;
}): TokenMinter {
  const key = createPrivateKey(readFileSync(options.signingKeyPath));
  if (key.asymmetricKeyType !== 'rsa') {
    throw new BulkheadError('WORKER_MISCONFIGURED', {
      internal: `${options.signingKeyPath} is not an RSA key`,
    });
  }
  const { e = '', n = '' } = createPublicKey(key).export({ format: 'jwk' });
  const kid = createHash('sha256').update(`{"e":"${e}","kty":"RSA","n":"${n}"}`).digest('base64url');
  const header = part({ alg: 'RS256', typ: 'JWT', kid });
  const mint = (sub: string, permission: string): string => {
    const iat = Math.floor((options.nowMs ?? Date.now)() / 1000);
    const signed = `${header}.${part({ sub, permissions: [permission], iat, exp: iat + options.ttlSeconds })}`;
    return `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`;
  };
  return {
    tenant: (tenantId, role) =>
      mint(`tenant:${tenantId}`, `${placementOf(parseTenantId(tenantId)).namespace}:${role}`),
    system: (role) => mint('control', `temporal-system:${role}`),
  };
}

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');

export interface TokenWriter {
  tenant(tenantId: TenantId, role: TokenRole, token: string): Promise<void>;
  system(role: 'read', token: string): Promise<void>;
}

/** Writes token files, mode 0600, each all or nothing: a reader never sees half a token. */
export function createTokenWriter({ dir }: { readonly dir: string }): TokenWriter {
  const write = async (name: string, token: string): Promise<void> => {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const temporary = join(dir, `.${name}.${randomBytes(4).toString('hex')}`);
    await writeFile(temporary, token, { mode: 0o600 });
    await rename(temporary, join(dir, name));
  };
  return {
    tenant: (tenantId, role, token) => write(fileOf(parseTenantId(tenantId), role), token),
    system: (_role, token) => write(SYSTEM_FILE, token),
  };
}

export interface TokenSource {
  /** @throws BulkheadError TEMPORAL_UNAVAILABLE while no token was written for the tenant. */
  get(tenantId: TenantId, role: TokenRole): Promise<string>;
  system(role: 'read'): Promise<string>;
  /** Tenants for which a token of the role exists: the host's list of whom it may serve. */
  tenants(role: TokenRole): Promise<TenantId[]>;
  /** Calls back when a token may have changed: a hint, so read again. Returns the function that stops. */
  onChange(listener: () => void): () => void;
}

/** Reads the folder of `createTokenWriter`, at each call: a token is replaced while the process runs. */
export function createFileTokenSource({ dir }: { readonly dir: string }): TokenSource {
  const read = async (name: string): Promise<string> => {
    try {
      return (await readFile(join(dir, name), 'utf8')).trim();
    } catch (cause) {
      throw new BulkheadError('TEMPORAL_UNAVAILABLE', { internal: `no token ${name}`, cause });
    }
  };
  return {
    get: (tenantId, role) => read(fileOf(parseTenantId(tenantId), role)),
    system: () => read(SYSTEM_FILE),
    tenants: async (role) => {
      const names = await readdir(dir).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return []; // nobody was provisioned yet
        throw error;
      });
      return names.flatMap((name) => tenantOf(name, role) ?? []);
    },
    onChange: (listener) => watchFolder(dir, listener),
  };
}

/** The token of a server that is not ours: one for everybody. The folder, where given, still lists the tenants. */
function createSharedTokenSource(apiKeyFile: string, roster: TokenSource | undefined): TokenSource {
  const read = async (): Promise<string> => (await readFile(apiKeyFile, 'utf8')).trim();
  return {
    get: read,
    system: read,
    tenants: (role) => {
      if (roster) return roster.tenants(role);
      throw new BulkheadError('WORKER_MISCONFIGURED', {
        internal: 'without temporal.tokensDir nothing lists the tenants',
      });
    },
    onChange: (listener) => roster?.onChange(listener) ?? (() => undefined),
  };
}

/** The source that a process's configuration names. */
export function openTokenSource(config: TemporalConfig): TokenSource {
  const files = config.tokensDir === undefined ? undefined : createFileTokenSource({ dir: config.tokensDir });
  if (config.apiKeyFile !== undefined) return createSharedTokenSource(config.apiKeyFile, files);
  if (files) return files;
  throw new BulkheadError('WORKER_MISCONFIGURED', {
    internal: 'temporal has neither tokensDir nor apiKeyFile',
  });
}

/** Not a tenant id, so no tenant (one called `system`, say) can own this name. */
const SYSTEM_FILE = '_system.read.jwt';
const fileOf = (tenantId: TenantId, role: TokenRole): string => `${tenantId}.${role}.jwt`;

function tenantOf(name: string, role: TokenRole): TenantId | undefined {
  const suffix = `.${role}.jwt`;
  if (!name.endsWith(suffix)) return undefined;
  try {
    return parseTenantId(name.slice(0, -suffix.length));
  } catch {
    return undefined; // a temporary file of a write in flight, or not ours
  }
}

/** A folder that does not exist yet, or vanishes, gives no hints; readers poll as well. */
function watchFolder(dir: string, listener: () => void): () => void {
  try {
    const watcher = watch(dir, { persistent: false }, () => listener());
    watcher.on('error', () => watcher.close());
    return () => watcher.close();
  } catch {
    return () => undefined;
  }
}
