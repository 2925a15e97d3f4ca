import { randomBytes } from 'node:crypto';
import { existsSync, watch } from 'node:fs';
import { mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { BulkheadError, LIFECYCLE_PLACE, placementOf, tenantId as parseTenantId } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import type { TemporalConfig } from './config.js';
import { openTokenRoot, PLATFORM } from './token-keys.js';
import type { TokenKey, TokenOwner } from './token-keys.js';

/**
 * Temporal tokens. The control process alone mints them and leaves them in a folder; hosts and API only read. A token
 * names one namespace, so a leaked one opens one tenant, and only until it ends.
 */

export type TokenRole = 'read' | 'write';

export interface TokenMinter {
  /** One namespace, one role. Polling and completing tasks need `write` (the server's role `worker` opens nothing). */
  tenant(tenantId: TenantId, role: TokenRole, holder?: string): string;
  /** The whole cluster: `admin` stays in the control process's memory, `read` is for Temporal UI's three reads. */
  system(role: 'read' | 'admin'): string;
  /** The namespace of the platform's own workflows, for the control process's own Worker. */
  platform(): string;
}

/**
 * @param options.keyOf the key that signs an owner's tokens now; @throws when the owner has none, so nothing is minted.
 * @param options.ttlSeconds how long a token opens anything; the server refuses it afterwards.
 */
export function createKeyedMinter(options: {
  readonly keyOf: (owner: TokenOwner) => Pick<TokenKey, 'sign'>;
  readonly ttlSeconds: number;
  readonly nowMs?: () => number;
}): TokenMinter {
  const mint = (owner: TokenOwner, sub: string, permission: string): string => {
    const iat = Math.floor((options.nowMs ?? Date.now)() / 1000);
    return options.keyOf(owner).sign({ sub, permissions: [permission], iat, exp: iat + options.ttlSeconds });
  };
  return {
    tenant(tenantId, role, holder = `tenant:${tenantId}`) {
      const { namespace } = placementOf(parseTenantId(tenantId));
      return mint(tenantId, holder, `${namespace}:${role}`);
    },
    system: (role) => mint(PLATFORM, 'control', `temporal-system:${role}`),
    platform: () => mint(PLATFORM, 'control', `${LIFECYCLE_PLACE.namespace}:write`),
  };
}

/** A minter on the platform's first key alone, which the launcher publishes: for what has no database to ask. */
export function createTokenMinter(options: {
  readonly signingKeyPath: string;
  readonly ttlSeconds: number;
  readonly nowMs?: () => number;
}): TokenMinter {
  const key = openTokenRoot(options.signingKeyPath).key(PLATFORM, 1);
  return createKeyedMinter({ ...options, keyOf: () => key });
}

export interface TokenWriter {
  tenant(tenantId: TenantId, role: TokenRole, token: string): Promise<void>;
  system(role: 'read', token: string): Promise<void>;
  /** Takes the tenant's token away; one that is gone already is fine. */
  remove(tenantId: TenantId, role: TokenRole): Promise<void>;
  /** Tenants whose token of the role lies in the folder. */
  tenants(role: TokenRole): Promise<TenantId[]>;
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
    remove: (tenantId, role) => rm(join(dir, fileOf(parseTenantId(tenantId), role)), { force: true }),
    tenants: (role) => tenantsIn(dir, role),
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
    tenants: (role) => tenantsIn(dir, role),
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

async function tenantsIn(dir: string, role: TokenRole): Promise<TenantId[]> {
  const names = await readdir(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []; // nobody was provisioned yet
    throw error;
  });
  return names.flatMap((name) => tenantOf(name, role) ?? []);
}

function tenantOf(name: string, role: TokenRole): TenantId | undefined {
  const suffix = `.${role}.jwt`;
  if (!name.endsWith(suffix)) return undefined;
  try {
    return parseTenantId(name.slice(0, -suffix.length));
  } catch {
    return undefined; // a temporary file of a write in flight, or not ours
  }
}

/** Watches the folder; while it does not exist, its parent. Whoever misses a hint polls as well. */
function watchFolder(dir: string, listener: () => void): () => void {
  let stopped = false;
  let close = (): void => undefined;
  const follow = (folder: string, onEvent: (name: string | null) => void): boolean => {
    try {
      const watcher = watch(folder, { persistent: false }, (_event, name) => onEvent(name));
      watcher.on('error', () => watcher.close());
      close = () => watcher.close();
      return true;
    } catch {
      return false; // it does not exist
    }
  };
  const attach = (): void => {
    if (stopped || follow(dir, listener)) return;
    follow(dirname(dir), (name) => {
      if (name !== basename(dir) || !existsSync(dir)) return;
      close();
      attach();
      listener(); // what was written before we looked
    });
  };
  attach();
  return () => {
    stopped = true;
    close();
  };
}
