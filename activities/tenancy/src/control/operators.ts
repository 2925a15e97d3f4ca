import { BulkheadError } from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';
import { newApiKey } from '../api-keys.js';
import { personId } from '../people.js';

/** Operators of the platform: members of no tenant. Rows are never deleted, so they tell who could do what, and when. */
export interface Operator {
  readonly id: string;
  readonly name: string;
  /** key | person */
  readonly kind: string;
  readonly createdBy: string;
  readonly createdAt: Date;
  readonly expiresAt: Date | null;
  readonly revokedAt: Date | null;
  readonly lastUsedAt: Date | null;
}

type Db = Pick<ControlDb, 'query'>;

/** Makes an operator's key and returns it this once; only its hash is stored. */
export async function createOperatorKey(
  db: Db,
  operator: { readonly name: string; readonly createdBy: string; readonly expiresAt?: Date | undefined },
): Promise<{ readonly key: string; readonly id: string }> {
  const { key, prefix, hash } = newApiKey('bho');
  await db.query(
    'INSERT INTO platform_operators (id, hash, name, created_by, expires_at) VALUES ($1, $2, $3, $4, $5)',
    [prefix, hash, operator.name, operator.createdBy, operator.expiresAt ?? null],
  );
  return { key, id: prefix };
}

/**
 * Makes a person of an issuer an operator.
 * @throws BulkheadError INVALID_STATE when the person is a member of a tenant: whoever operates the platform sees no
 * tenant's work.
 */
export async function createOperator(
  db: Db,
  operator: {
    readonly issuer: string;
    readonly subject: string;
    readonly name: string;
    readonly createdBy: string;
  },
): Promise<{ readonly id: string }> {
  const { issuer, subject, name, createdBy } = operator;
  const id = personId(issuer, subject);
  const made = await db.query(
    `INSERT INTO platform_operators (id, issuer, subject, name, created_by)
     SELECT $1, $2, $3, $4, $5 WHERE NOT EXISTS (SELECT FROM members WHERE id = $1 AND removed_at IS NULL)
     ON CONFLICT (id) DO NOTHING RETURNING id`,
    [id, issuer, subject, name, createdBy],
  );
  if (made.length === 0) {
    throw new BulkheadError('INVALID_STATE', {
      publicMessage: 'This person is a member of a tenant, or is or was an operator already.',
    });
  }
  return { id };
}

/** Ends an operator; refused from the next request on. @throws BulkheadError NOT_FOUND when there is no such one. */
export async function revokeOperator(db: Db, id: string, revokedBy: string): Promise<void> {
  const ended = await db.query(
    'UPDATE platform_operators SET revoked_at = now(), revoked_by = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING id',
    [id, revokedBy],
  );
  if (ended.length === 0) throw new BulkheadError('NOT_FOUND', { field: 'id' });
}

/** All of them, also those that ended, oldest first. */
export async function listOperators(db: Db): Promise<Operator[]> {
  return db.query<Operator & Record<string, unknown>>(
    `SELECT id, name, CASE WHEN hash IS NULL THEN 'person' ELSE 'key' END AS kind, created_by AS "createdBy",
            created_at AS "createdAt", expires_at AS "expiresAt", revoked_at AS "revokedAt", last_used_at AS "lastUsedAt"
       FROM platform_operators ORDER BY created_at, id`,
  );
}

/** Who made or ended an operator, and when. */
export interface OperatorRecord {
  readonly seq: number;
  readonly at: Date;
  readonly change: string;
  readonly operator: string;
  readonly name: string;
  readonly by: string;
  /** Whether its hash is right and continues the record before; a record that is missing breaks the next one. */
  readonly intact: boolean;
}

/** The database writes a record with each change of an operator, oldest first; at most the last 1,000. */
export async function listOperatorRecords(db: Db): Promise<OperatorRecord[]> {
  const rows = await db.query<OperatorRecord & Record<string, unknown>>(
    `SELECT * FROM (
       SELECT seq::int, at, body->>'change' AS change, body->>'operator' AS operator, body->>'name' AS name, body->>'by' AS by,
              hash = platform_record_hash(prev_hash, seq, at, body)
                AND prev_hash = coalesce(lag(hash) OVER (ORDER BY seq), CASE WHEN seq = 1 THEN '\\x00'::bytea END) IS TRUE AS intact
         FROM platform_journal) records
      ORDER BY seq DESC LIMIT 1000`,
  );
  return rows.toReversed();
}
