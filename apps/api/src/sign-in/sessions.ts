import { createHash, randomBytes } from 'node:crypto';
import { tenantId } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';
import type { TenantDb } from '@bulkhead/prisma/tenant';

/** Browser sessions for Temporal UI. Tokens are random and only their hashes are stored. */

const LINK_MS = 10 * 60_000;
/** Also the age of the cookie. */
export const SESSION_SECONDS = 12 * 3600;
const TOKEN = /^[\w-]{43}$/;

export interface Viewer {
  readonly tenantId: TenantId;
  readonly actor: string;
}

/** Makes a token that can be turned into a session once, within ten minutes. */
export async function createLink(
  db: TenantDb,
  actor: string,
  now: Date,
): Promise<{ readonly token: string; readonly expiresAt: Date }> {
  const token = newToken();
  const expiresAt = new Date(now.getTime() + LINK_MS);
  const hash = new Uint8Array(hashOf(token));
  await db.run((tx) =>
    tx.session.create({ data: { tenantId: db.tenantId, hash, kind: 'link', actor, expiresAt } }),
  );
  return { token, expiresAt };
}

/** Uses up a link and opens a session; undefined when it is unknown, expired or used. Two callers at once: one wins. */
export async function consumeLink(
  control: Pick<ControlDb, 'query'>,
  token: string,
): Promise<(Viewer & { readonly token: string }) | undefined> {
  if (!TOKEN.test(token)) return undefined;
  const session = newToken();
  const [row] = await control.query<ViewerRow>(CONSUME, [hashOf(token), hashOf(session), SESSION_SECONDS]);
  return row && { tenantId: tenantId(row.tenant_id), actor: row.actor, token: session };
}

/** Whose session this is; undefined when it ended, or when the key that opened it was revoked or expired. */
export async function findSession(
  control: Pick<ControlDb, 'query'>,
  token: string,
): Promise<Viewer | undefined> {
  if (!TOKEN.test(token)) return undefined;
  const [row] = await control.query<ViewerRow>(FIND, [hashOf(token)]);
  return row && { tenantId: tenantId(row.tenant_id), actor: row.actor };
}

interface ViewerRow {
  readonly tenant_id: string;
  readonly actor: string;
}

const KEY_HOLDS = `EXISTS (SELECT FROM api_keys k WHERE k.tenant_id = s.tenant_id AND 'key:' || k.prefix = s.actor
  AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()))`;

/** One statement, so a link that was used has its session and no link is used twice. Old rows go on the way. */
const CONSUME = `
  WITH old AS (DELETE FROM sessions WHERE expires_at < now() - interval '1 day'),
  link AS (
    UPDATE sessions s SET used_at = now()
     WHERE s.hash = $1 AND s.kind = 'link' AND s.used_at IS NULL AND s.expires_at > now() AND ${KEY_HOLDS}
    RETURNING s.tenant_id, s.actor)
  INSERT INTO sessions (tenant_id, hash, kind, actor, expires_at)
  SELECT tenant_id, $2, 'session', actor, now() + make_interval(secs => $3) FROM link
  RETURNING tenant_id, actor`;

const FIND = `SELECT s.tenant_id, s.actor FROM sessions s
   WHERE s.hash = $1 AND s.kind = 'session' AND s.expires_at > now() AND ${KEY_HOLDS}`;

const newToken = (): string => randomBytes(32).toString('base64url');
const hashOf = (token: string): Buffer => createHash('sha256').update(token).digest();
