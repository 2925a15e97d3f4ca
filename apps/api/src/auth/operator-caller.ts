import type { ControlDb } from '@bulkhead/prisma/control';
import { sameHash } from '@bulkhead/tenancy/admin';
import type { ApiKeyParts } from '@bulkhead/tenancy/admin';
import { accessOf } from './access.js';
import type { PlatformOperator } from './principal.js';

interface OperatorRow {
  readonly id: string;
  readonly hash: Buffer | null;
  readonly expires_at: Date | null;
  readonly stale: boolean;
}

const NO_HASH = Buffer.alloc(32);

/** An operator of the platform by key; undefined when the key is not genuine, expired or revoked. */
export async function findOperatorByKey(
  control: Pick<ControlDb, 'query'>,
  presented: ApiKeyParts,
): Promise<PlatformOperator | undefined> {
  const [row] = await control.query<OperatorRow>(FIND, [presented.prefix], 'find_operator');
  // a person's row has no hash, and no key of that name is good
  const genuine = sameHash(row?.hash ?? NO_HASH, presented.hash);
  return row && genuine ? operatorOf(control, row, undefined) : undefined;
}

/** An operator by id, once who it is has been proved elsewhere; undefined when there is none, expired or revoked. */
export async function findOperator(
  control: Pick<ControlDb, 'query'>,
  id: string,
  proofEndsAt: Date | undefined,
): Promise<PlatformOperator | undefined> {
  const [row] = await control.query<OperatorRow>(FIND, [id], 'find_operator');
  return row && operatorOf(control, row, proofEndsAt);
}

async function operatorOf(
  control: Pick<ControlDb, 'query'>,
  row: OperatorRow,
  proofEndsAt: Date | undefined,
): Promise<PlatformOperator> {
  if (row.stale) await control.query(TOUCH, [row.id]);
  const actor = `operator:${row.id}`;
  const { can } = accessOf({ role: 'platform', responsible: actor });
  return {
    kind: 'platform',
    actor,
    role: 'platform',
    expiresAt: proofEndsAt ?? row.expires_at ?? undefined,
    can,
  };
}

const FIND = `
  SELECT id, hash, expires_at, last_used_at IS NULL OR last_used_at < now() - interval '1 minute' AS stale
    FROM platform_operators
   WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())`;

const TOUCH = `UPDATE platform_operators SET last_used_at = now()
   WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')`;
