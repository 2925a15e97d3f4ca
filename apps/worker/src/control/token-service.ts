import { setTimeout as sleep } from 'node:timers/promises';
import { isGrpcServiceError } from '@temporalio/client';
import type { Connection } from '@temporalio/client';
import { BulkheadError, placementOf, tenantId } from '@bulkhead/contract';
import type { HostId, TenantId } from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';
import type { ControlConfig } from '@bulkhead/runtime/config';
import { openTokenRoot, PLATFORM, publishTokenKeys } from '@bulkhead/runtime/token-keys';
import type { TokenOwner } from '@bulkhead/runtime/token-keys';
import { createKeyedMinter } from '@bulkhead/runtime/tokens';
import type { TokenMinter } from '@bulkhead/runtime/tokens';
import { createTokenKeys } from '@bulkhead/tenancy/control';
import { createTokenIssuer } from './token-issuer.js';

const REQUEST_MS_MAX = 3_000;
const NOT_FOUND = 5;
/** PERMISSION_DENIED and UNAUTHENTICATED. */
const REFUSALS: readonly number[] = [7, 16];
/** Such a tenant need not exist. */
const NOBODY = tenantId('nobody');
const PROBE_SECONDS = 30;
/** Clocks of control and server may differ by this much before a retired key is missed. */
const CLOCK_MARGIN_SECONDS = 60;

export interface TokenServiceDeps {
  readonly config: ControlConfig;
  readonly control: Pick<ControlDb, 'query'>;
  /** To ask the server whether it knows a key; each question carries its own token. */
  readonly connection: () => Connection;
  readonly log: {
    info(fields: object, message: string): void;
    warn(fields: object, message: string): void;
  };
}

export interface TokenService {
  /** Signs with the keys in use. Throws TEMPORAL_UNAVAILABLE for an owner that has none. */
  readonly minter: TokenMinter;
  /** A genuine token of a namespace that is nobody's: it must open nothing. */
  foreign(): string;
  /** Generation of the platform's key in use; changes when it is rotated. */
  platformGeneration(): number;
  /**
   * One step of keys and tokens to where the database says they should be. `waiting` keys are published and not accepted
   * yet. Calls at the same time share one step.
   */
  syncOnce(): Promise<{ readonly waiting: number }>;
  /**
   * Before the first request: publishes our keys and waits until the server accepts the platform's, 5 s at most. A server
   * that is away, or reads another file, is found out by what comes next.
   */
  open(): Promise<void>;
  /** Resolves when the tenant's hosts hold a token of a key that the server accepts. @throws after 15 s. */
  untilIssued(tenantId: TenantId): Promise<void>;
  /** Resolves when the server refuses the newest key that the tenant had. @throws after 15 s. */
  untilRefused(tenantId: TenantId): Promise<void>;
}

/** The server reads its keys once a second. */
const DONE_MS_MAX = 15_000;
const OPEN_MS_MAX = 5_000;
const ASK_EVERY_MS = 200;

export function createTokenService({ config, control, connection, log }: TokenServiceDeps): TokenService {
  const { tokensDir, apiKeyFile, tokenTtlSeconds, enforcesTokens } = config.temporal;
  const root = openTokenRoot(config.keys.temporalSigning);
  // the launcher's first key: until the database was asked there is no other
  let current: ReadonlyMap<TokenOwner, number> = new Map([[PLATFORM, 1]]);
  const minter = createKeyedMinter({
    ttlSeconds: tokenTtlSeconds,
    keyOf(owner) {
      const generation = current.get(owner);
      if (generation !== undefined) return root.key(owner, generation);
      throw new BulkheadError('TEMPORAL_UNAVAILABLE', { internal: `${owner} has no token key` });
    },
  });
  const issuer = createTokenIssuer({
    dir: tokensDir,
    minter,
    ttlSeconds: tokenTtlSeconds,
    nowMs: () => performance.now(),
  });
  const platformGeneration = (): number => current.get(PLATFORM) ?? 0;
  /** Signs with one key, whether it is in use or not. */
  const minterOf = (owner: TokenOwner, generation: number): TokenMinter =>
    createKeyedMinter({ ttlSeconds: PROBE_SECONDS, keyOf: () => root.key(owner, generation) });
  const keyFile = config.keys.temporalJwks;
  const keys = createTokenKeys({
    control,
    log,
    publish: async (live) => {
      if (keyFile === undefined) return; // a server that is not ours: nobody there reads our keys
      const named = live.map(({ owner, generation }) => root.key(owner, generation));
      await publishTokenKeys(keyFile, root, named);
    },
    accepts: async (owner, generation) => {
      if (apiKeyFile !== undefined) return true; // its token is not ours, and ours go nowhere
      return accepted(connection(), owner, minterOf(owner, generation));
    },
    retireSeconds: tokenTtlSeconds + CLOCK_MARGIN_SECONDS,
  });

  const step = async (): Promise<{ waiting: number }> => {
    const settled = await keys.settleOnce();
    current = settled.current;
    const [tenants, hosts] = await Promise.all([
      control.query<{ id: TenantId }>(
        "SELECT id FROM tenants WHERE status IN ('provisioning', 'active', 'resuming') ORDER BY id",
      ),
      control.query<{ id: HostId }>('SELECT id FROM hosts WHERE NOT fenced'),
    ]);
    await issuer.issueOnce({
      tenants: tenants.map(({ id }) => id),
      hosts: hosts.map(({ id }) => id),
      generationOf: (owner) => current.get(owner ?? PLATFORM),
    });
    return { waiting: settled.waiting };
  };
  let running: Promise<{ waiting: number }> | undefined;
  let next: Promise<{ waiting: number }> | undefined;
  /** A caller's change may have come after the running step had read: it gets a step of its own, shared by all who wait. */
  const syncOnce = (): Promise<{ waiting: number }> => {
    if (!running) {
      running = step().finally(() => (running = undefined));
      return running;
    }
    next ??= running
      .catch(() => undefined) // told to whoever called it
      .then(() => {
        next = undefined;
        return syncOnce();
      });
    return next;
  };

  return {
    minter,
    foreign: () => minterOf(PLATFORM, platformGeneration()).tenant(NOBODY, 'write'),
    platformGeneration,
    syncOnce,
    async open() {
      await syncOnce();
      if (apiKeyFile !== undefined) return;
      try {
        await within(OPEN_MS_MAX, 'the server does not accept our own key yet', () =>
          accepted(connection(), PLATFORM, minterOf(PLATFORM, platformGeneration())),
        );
      } catch (error) {
        log.warn({ error }, 'Temporal is not ready for us');
      }
    },
    async untilIssued(tenantId) {
      await within(
        DONE_MS_MAX,
        `the server accepts no key of ${tenantId}: does it read our key file?`,
        async () => {
          await syncOnce();
          return current.has(tenantId);
        },
      );
    },
    async untilRefused(tenantId) {
      if (apiKeyFile !== undefined || !enforcesTokens) return; // nothing of ours opens anything there, or everything does
      const [last] = await control.query<{ generation: number | null }>(NEWEST, [tenantId]);
      const generation = last?.generation;
      if (!generation) return; // it never had one
      await within(
        DONE_MS_MAX,
        `the server still accepts a dropped key of ${tenantId}`,
        async () => !(await accepted(connection(), tenantId, minterOf(tenantId, generation))),
      );
    },
  };
}

const NEWEST = 'SELECT max(generation) AS generation FROM token_keys WHERE tenant_id = $1';

/** Asks again and again until it is so. @throws BulkheadError TEMPORAL_UNAVAILABLE when it does not become so in time. */
async function within(ms: number, otherwise: string, isSo: () => Promise<boolean>): Promise<void> {
  for (const until = performance.now() + ms; performance.now() < until; await sleep(ASK_EVERY_MS)) {
    if (await isSo()) return;
  }
  throw new BulkheadError('TEMPORAL_UNAVAILABLE', { internal: otherwise });
}

/** Asks for a namespace with a token of the key. "No such namespace" is a yes: whoever hears it was let in. */
async function accepted(connection: Connection, owner: TokenOwner, probe: TokenMinter): Promise<boolean> {
  const token = owner === PLATFORM ? probe.system('read') : probe.tenant(owner, 'read', 'control');
  const namespace = owner === PLATFORM ? 'temporal-system' : placementOf(owner).namespace;
  try {
    await connection.withDeadline(Date.now() + REQUEST_MS_MAX, () =>
      connection.withApiKey(token, () => connection.workflowService.describeNamespace({ namespace })),
    );
    return true;
  } catch (error) {
    const code = isGrpcServiceError(error) ? Number(error.code) : undefined;
    if (code === NOT_FOUND) return true;
    if (code !== undefined && REFUSALS.includes(code)) return false;
    throw error;
  }
}
