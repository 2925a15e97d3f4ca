import { createHash, randomBytes } from 'node:crypto';
import type { ControlDb } from '@bulkhead/prisma/control';
import type { TenantDb } from '@bulkhead/prisma/tenant';
import { findActor, findOperatorActor } from '../auth/actor.js';
import type { PlatformOperator, Principal } from '../auth/principal.js';

/**
 * Browser sessions for Temporal UI. Tokens are random and only their hashes are stored. A session carries the name of
 * who opened it and no rights: what they may do is looked up each time, so it ends with their key, their membership,
 * their permission or their tenant.
 */

const LINK_MS = 10 * 60_000;
/** Also the age of the cookie. */
export const SESSION_SECONDS = 12 * 3600;
const TOKEN = /^[\w-]{43}$/;

/** Who looks at Temporal UI: someone of one tenant, or an operator of the platform. */
export type Viewer = Principal | PlatformOperator;

type Db = Pick<ControlDb, 'query'>;

interface Link {
  readonly token: string;
  readonly expiresAt: Date;
}

/** Makes a token that can be turned into a session of this tenant once, within ten minutes. */
export async function createLink(db: TenantDb, actor: string, now: Date): Promise<Link> {
  const link = newLink(now);
  const { expiresAt } = link;
  const hash = new Uint8Array(hashOf(link.token));
  await db.run((tx) =>
    tx.session.create({ data: { tenantId: db.tenantId, hash, kind: 'link', actor, expiresAt } }),
  );
  return link;
}

/** As createLink, for an operator of the platform. */
export async function createOperatorLink(db: Db, actor: string, now: Date): Promise<Link> {
  const link = newLink(now);
  await db.query(
    "INSERT INTO operator_sessions (hash, kind, operator_id, expires_at) VALUES ($1, 'link', $2, $3)",
    [hashOf(link.token), actor, link.expiresAt],
  );
  return link;
}

/** Uses up a link and opens a session; undefined when it is unknown, expired or used. Two callers at once: one wins. */
export async function consumeLink(
  db: Db,
  token: string,
): Promise<{ readonly viewer: Viewer; readonly token: string } | undefined> {
  if (!TOKEN.test(token)) return undefined;
  const session = newToken();
  const hashes = [hashOf(token), hashOf(session), SESSION_SECONDS];
  const [row] = await db.query<SessionRow>(CONSUME, hashes);
  const [operator] = row ? [] : await db.query<OperatorRow>(CONSUME_OPERATOR, hashes);
  const viewer = await viewerOf(db, row, operator);
  return viewer && { viewer, token: session };
}

/** Whose session this is; undefined when it ended, or when who opened it may not look any more. */
export async function findSession(db: Db, token: string): Promise<Viewer | undefined> {
  if (!TOKEN.test(token)) return undefined;
  const hash = [hashOf(token)];
  const [row] = await db.query<SessionRow>(FIND, hash);
  const [operator] = row ? [] : await db.query<OperatorRow>(FIND_OPERATOR, hash);
  return viewerOf(db, row, operator);
}

interface SessionRow {
  readonly tenant_id: string;
  readonly actor: string;
}
interface OperatorRow {
  readonly operator_id: string;
}

async function viewerOf(
  db: Db,
  session: SessionRow | undefined,
  operator: OperatorRow | undefined,
): Promise<Viewer | undefined> {
  const viewer = session
    ? await findActor(db, session.tenant_id, session.actor)
    : operator && (await findOperatorActor(db, operator.operator_id));
  return viewer?.can('ui:sign-in') ? viewer : undefined;
}

/** One statement, so a link that was used has its session and no link is used twice. Old rows go on the way. */
const CONSUME = `
  WITH old AS (DELETE FROM sessions WHERE expires_at < now() - interval '1 day'),
  link AS (
    UPDATE sessions s SET used_at = now()
     WHERE s.hash = $1 AND s.kind = 'link' AND s.used_at IS NULL AND s.expires_at > now()
    RETURNING s.tenant_id, s.actor)
  INSERT INTO sessions (tenant_id, hash, kind, actor, expires_at)
  SELECT tenant_id, $2, 'session', actor, now() + make_interval(secs => $3) FROM link
  RETURNING tenant_id, actor`;
const CONSUME_OPERATOR = `
  WITH old AS (DELETE FROM operator_sessions WHERE expires_at < now() - interval '1 day'),
  link AS (
    UPDATE operator_sessions s SET used_at = now()
     WHERE s.hash = $1 AND s.kind = 'link' AND s.used_at IS NULL AND s.expires_at > now()
    RETURNING s.operator_id)
  INSERT INTO operator_sessions (hash, kind, operator_id, expires_at)
  SELECT $2, 'session', operator_id, now() + make_interval(secs => $3) FROM link
  RETURNING operator_id`;

const FIND = `SELECT s.tenant_id, s.actor FROM sessions s
   WHERE s.hash = $1 AND s.kind = 'session' AND s.expires_at > now()`;
const FIND_OPERATOR = `SELECT s.operator_id FROM operator_sessions s
   WHERE s.hash = $1 AND s.kind = 'session' AND s.expires_at > now()`;

const newToken = (): string => randomBytes(32).toString('base64url');
const newLink = (now: Date): Link => ({
  token: newToken(),
  expiresAt: new Date(now.getTime() + LINK_MS),
});
const hashOf = (token: string): Buffer => createHash('sha256').update(token).digest();
