import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { BulkheadError, parseRevocationId } from '@bulkhead/contract';
import type { RevocationId } from '@bulkhead/contract';
import type { Prisma, TenantDb } from '@bulkhead/prisma/tenant';

export const REVOCATION_SCOPES = ['secret', 'version', 'agent', 'tool', 'tenant'] as const;
export type RevocationScope = (typeof REVOCATION_SCOPES)[number];

export interface RevocationOrder {
  /** A fresh one; the same revocation again keeps the id that it has. */
  readonly id: RevocationId;
  readonly scope: RevocationScope;
  /** For `secret` and `version`. */
  readonly secret: string | undefined;
  /** For `version`. */
  readonly version: number | undefined;
  /** The agent or tool, for these scopes. */
  readonly target: string | undefined;
  /** Only count whom it would hit. */
  readonly dryRun: boolean;
  readonly reason: string;
  readonly actor: string;
  /** How long to wait until it is in force, in milliseconds. */
  readonly boundMs: number;
}

/** Whom a revocation hits. */
interface Counts {
  /** Values that are dead from then on. */
  readonly versions: number;
  /** Runs under way that may use one: a run and system each. */
  readonly grants: number;
  /** Requests under way, which are broken off. */
  readonly calls: number;
}

export interface Revocation extends Counts {
  /** undefined: it was only counted. */
  readonly id: string | undefined;
  /** No request can use it any more. */
  readonly inForce: boolean;
  /** Hosts that still have a request with a revoked secret under way. */
  readonly waitingFor: readonly string[];
}

export interface RevocationInfo extends Counts {
  readonly id: string;
  readonly scope: RevocationScope;
  readonly secret: string | undefined;
  readonly version: number | undefined;
  readonly target: string | undefined;
  readonly reason: string;
  readonly actor: string;
  readonly at: Date;
  readonly liftedAt: Date | undefined;
  readonly liftedBy: string | undefined;
  readonly liftReason: string | undefined;
}

const counts = { versions: z.int(), grants: z.int(), calls: z.int() };
const Answer = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('revoked'), id: z.string(), ...counts }),
  z.object({ kind: z.literal('counted'), ...counts }),
  z.object({ kind: z.literal('not_found') }),
]);
const Lifted = z.object({ kind: z.enum(['lifted', 'final', 'not_found']) });
const Hosts = z.array(z.string());

const LOOK_EVERY_MS = 40;

/**
 * Takes the use of secrets away: from the commit on no call is admitted with them, what is under way is broken off, and
 * retries, resets and replays are refused the same way. Waits until that is in force, at most `boundMs`.
 * @throws BulkheadError NOT_FOUND (the same for foreign and unknown ids), BAD_INPUT
 */
export async function revokeSecrets(db: TenantDb, order: RevocationOrder): Promise<Revocation> {
  const { boundMs, ...rest } = checked(order);
  const answer = Answer.parse(await db.call('revoke_secrets', rest));
  if (answer.kind === 'not_found') throw new BulkheadError('NOT_FOUND', { field: 'id' });
  const { versions, grants, calls } = answer;
  const hit = { versions, grants, calls };
  if (answer.kind === 'counted') return { ...hit, id: undefined, inForce: false, waitingFor: [] };
  const until = performance.now() + boundMs;
  for (;;) {
    const waitingFor = Hosts.parse(await db.call('revocations_not_in_force', {}));
    const inForce = waitingFor.length === 0;
    if (inForce || performance.now() >= until) return { ...hit, id: answer.id, inForce, waitingFor };
    await sleep(LOOK_EVERY_MS);
  }
}

/** What each scope names, and nothing else: a revocation that hits more than was meant is worse than none. */
function checked(order: RevocationOrder): RevocationOrder {
  const { scope, secret, version, target } = order;
  const wants = {
    secret: scope === 'secret' || scope === 'version',
    version: scope === 'version',
    target: scope === 'agent' || scope === 'tool',
  };
  for (const [field, given] of [
    ['secret', secret],
    ['version', version],
    ['target', target],
  ] as const) {
    if (wants[field] === (given !== undefined)) continue;
    throw new BulkheadError('BAD_INPUT', {
      field,
      publicMessage: `${field}: ${wants[field] ? 'is needed' : 'does not belong'} with scope ${scope}`,
    });
  }
  return order;
}

/**
 * Gives back what was taken from an agent, a tool or the tenant. @throws BulkheadError NOT_FOUND; INVALID_STATE for a
 * secret or version: a value that was revoked is never used again.
 */
export async function liftRevocation(
  db: TenantDb,
  order: { readonly id: string; readonly reason: string; readonly actor: string },
): Promise<void> {
  const known = parseRevocationId(order.id)?.tenantId === db.tenantId;
  const answer = known ? Lifted.parse(await db.call('lift_revocation', { ...order })) : undefined;
  if (answer === undefined || answer.kind === 'not_found') {
    throw new BulkheadError('NOT_FOUND', { field: 'id' });
  }
  if (answer.kind === 'final') {
    throw new BulkheadError('INVALID_STATE', {
      publicMessage: 'A revoked value is never used again; rotate the secret.',
    });
  }
}

const LISTED_MAX = 200;

/** Newest first, at most 200. */
export async function listRevocations(db: TenantDb): Promise<readonly RevocationInfo[]> {
  const { tenantId } = db;
  const rows = await db.run((tx) =>
    tx.secretRevocation.findMany({
      where: { tenantId },
      orderBy: [{ at: 'desc' }, { id: 'desc' }],
      take: LISTED_MAX,
    }),
  );
  return rows.map(infoOf);
}

function infoOf(row: Prisma.SecretRevocationGetPayload<object>): RevocationInfo {
  const scope = REVOCATION_SCOPES.find((known) => known === row.scope);
  if (!scope) throw new BulkheadError('INTERNAL', { internal: `revocation ${row.id} is of no known kind` });
  const { id, versions, grants, calls, reason, actor, at } = row;
  return {
    id,
    scope,
    secret: row.secret === '' ? undefined : row.secret,
    version: row.version === 0 ? undefined : row.version,
    target: row.target === '' ? undefined : row.target,
    versions,
    grants,
    calls,
    reason,
    actor,
    at,
    liftedAt: row.liftedAt ?? undefined,
    liftedBy: row.liftedBy ?? undefined,
    liftReason: row.liftReason ?? undefined,
  };
}
