import { CHANNELS } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';

/** Whose tokens a key signs; the platform's own keys are `_system`. */
export type KeyOwner = TenantId | typeof PLATFORM;
const PLATFORM = '_system';

export interface LiveKey {
  readonly owner: KeyOwner;
  readonly generation: number;
  /** `publishing`: the server may not know it yet. `retiring`: its last tokens have not ended yet. */
  readonly state: 'publishing' | 'current' | 'retiring';
}

/** What keys need from the outside; apps/worker binds it to the root secret and the server. */
export interface TokenKeyPorts {
  /** Makes exactly these keys known to the server. */
  publish(keys: readonly LiveKey[]): Promise<void>;
  /** Whether the server accepts a token that this key signed. */
  accepts(owner: KeyOwner, generation: number): Promise<boolean>;
}

export interface TokenKeysDeps extends TokenKeyPorts {
  readonly control: Pick<ControlDb, 'query'>;
  readonly log: {
    info(fields: object, message: string): void;
    warn(fields: object, message: string): void;
  };
  /** How long after its last use a key must stay, in seconds: the life of a token and a margin for clocks. */
  readonly retireSeconds: number;
}

export interface TokenKeys {
  /** One step of every key that has one to make; `waiting` keys are not accepted yet, so come back soon. */
  settleOnce(): Promise<{ current: ReadonlyMap<KeyOwner, number>; waiting: number }>;
}

/** The platform's first key is known to the server before any database: the launcher publishes it. */
const FIRST = `
  INSERT INTO token_keys (tenant_id, generation, state) VALUES ('${PLATFORM}', 1, 'current') ON CONFLICT DO NOTHING`;

/** A tenant that is served has a key or gets its next one; generations that were dropped never come back. */
const MISSING = `
  INSERT INTO token_keys (tenant_id, generation)
  SELECT t.id, 1 + coalesce((SELECT max(k.generation) FROM token_keys k WHERE k.tenant_id = t.id), 0)
    FROM tenants t
   WHERE t.status IN ('provisioning', 'active', 'resuming')
     AND NOT EXISTS (SELECT FROM token_keys k WHERE k.tenant_id = t.id AND k.state IN ('publishing', 'current'))
  ON CONFLICT DO NOTHING`;

const EXPIRED = `UPDATE token_keys SET state = 'dropped' WHERE state = 'retiring' AND retires_at <= now()`;

const LIVE = `
  SELECT tenant_id AS owner, generation, state FROM token_keys WHERE state <> 'dropped' ORDER BY tenant_id, generation`;

/** Before the take-over, because one key at most is current; whoever dies in between takes over at the next step. */
const RETIRE = `
  UPDATE token_keys SET state = 'retiring', retires_at = now() + make_interval(secs => $3)
   WHERE tenant_id = $1 AND state = 'current' AND generation < $2
     AND EXISTS (SELECT FROM token_keys n WHERE n.tenant_id = $1 AND n.generation = $2 AND n.state = 'publishing')`;

const TAKE_OVER = `
  WITH next AS (
    UPDATE token_keys SET state = 'current' WHERE tenant_id = $1 AND generation = $2 AND state = 'publishing' RETURNING tenant_id
  )
  INSERT INTO journal_records (tenant_id, kind, body)
  SELECT t.id, 'control', jsonb_build_object('change', 'token_key_in_use', 'generation', $2::int)
    FROM next n JOIN tenants t ON t.id = n.tenant_id`;

const REVOKE = `UPDATE token_keys SET state = 'dropped' WHERE tenant_id = $1 AND state <> 'dropped' RETURNING generation`;

const ROTATE = `
  INSERT INTO token_keys (tenant_id, generation)
  SELECT k.tenant_id, 1 + max(k.generation) FROM token_keys k
   WHERE ($1::text IS NULL OR k.tenant_id = $1)
   GROUP BY k.tenant_id
  HAVING bool_or(k.state = 'current') AND NOT bool_or(k.state = 'publishing')
  ON CONFLICT DO NOTHING
  RETURNING tenant_id AS owner, generation`;

export function createTokenKeys({ control, publish, accepts, retireSeconds, log }: TokenKeysDeps): TokenKeys {
  const live = (): Promise<LiveKey[]> => control.query<LiveKey & Record<string, unknown>>(LIVE);
  const takeOver = async ({ owner, generation }: LiveKey): Promise<void> => {
    await control.query(RETIRE, [owner, generation, retireSeconds]);
    await control.query(TAKE_OVER, [owner, generation]);
    log.info({ owner, generation }, 'a token key is in use');
  };
  /** A server that cannot be asked leaves the key waiting; the others' tokens are renewed all the same. */
  const isAccepted = async ({ owner, generation }: LiveKey): Promise<boolean> => {
    try {
      return await accepts(owner, generation);
    } catch (error) {
      log.warn({ owner, generation, error }, 'the server cannot be asked whether it accepts a token key');
      return false;
    }
  };
  return {
    async settleOnce() {
      await control.query(FIRST);
      await control.query(MISSING);
      await control.query(EXPIRED);
      let keys = await live();
      // always, not only after a change of ours: the file may have been lost, or a commit of another process came in between
      await publish(keys);
      const fresh = keys.filter(({ state }) => state === 'publishing');
      for (const key of fresh) {
        if (await isAccepted(key)) await takeOver(key);
      }
      if (fresh.length > 0) keys = await live();
      const inState = (state: LiveKey['state']): LiveKey[] => keys.filter((key) => key.state === state);
      return {
        current: new Map(inState('current').map(({ owner, generation }) => [owner, generation])),
        waiting: inState('publishing').length,
      };
    },
  };
}

/**
 * Ends every token of the tenant: its keys leave the set that the server reads, at the server's next look (1 s). A tenant
 * that is served again gets a key that never was. @returns how many keys were live.
 */
export async function revokeTokenKeys(
  control: Pick<ControlDb, 'query'>,
  tenantId: TenantId,
): Promise<number> {
  return (await control.query(REVOKE, [tenantId])).length;
}

/**
 * Orders the next key for one owner, or for everybody. The control process publishes it, waits until the server accepts
 * it, mints with it, and drops the old one when its last token has ended. An owner whose next key is still on its way
 * gets no second one. @returns the keys that were ordered.
 */
export async function orderTokenKeys(
  control: Pick<ControlDb, 'query'>,
  owner?: KeyOwner,
): Promise<{ owner: KeyOwner; generation: number }[]> {
  const ordered = await control.query<{ owner: KeyOwner; generation: number }>(ROTATE, [owner ?? null]);
  await control.query('SELECT pg_notify($1, $2)', [CHANNELS.tenants, '']);
  return ordered;
}

/** The generation that signs each owner's tokens now. */
export async function tokenKeysInUse(
  control: Pick<ControlDb, 'query'>,
): Promise<ReadonlyMap<KeyOwner, number>> {
  const rows = await control.query<{ owner: KeyOwner; generation: number }>(
    "SELECT tenant_id AS owner, generation FROM token_keys WHERE state = 'current'",
  );
  return new Map(rows.map(({ owner, generation }) => [owner, generation]));
}
