import { createHash, randomBytes } from 'node:crypto';
import type { ControlDb } from '@bulkhead/prisma/control';
import type { TenantDb } from '@bulkhead/prisma/tenant';
import { findActor, findOperatorActor } from '../auth/actor.js';
import type { PlatformOperator, Principal } from '../auth/principal.js';

/**
 * Browser sessions for Temporal UI. Tokens are random and only their hashes are stored. A session carries the name of
 * who opened it and no rights: what they may do is looked up each time, so it ends with their key, their membership,
 * their permission or their tenant; and with the token that asked for it, or after 12 hours.
 */

const LINK_MS = 10 * 60_000;
const SESSION_SECONDS_MAX = 12 * 3600;
const TOKEN = /^[\w-]{43}$/;

/** Who looks at Temporal UI: someone of one tenant, or an operator of the platform. */
export type Viewer = Principal | PlatformOperator;

type Db = Pick<ControlDb, 'query'>;

interface Link {
  readonly token: string;
  readonly expiresAt: Date;
}

/** Who asks for a link, and when what proves it ends; undefined: it has no end of its own. */
export interface Asking {
  readonly actor: string;
  readonly expiresAt: Date | undefined;
}

/** Makes a token that can be turned into a session of this tenant once, within ten minutes. */
export async function createLink(db: TenantDb, { actor, expiresAt }: Asking, now: Date): Promise<Link> {
  const link = newLink(now, expiresAt);
  const hash = new Uint8Array(hashOf(link.token));
  const ends = { expiresAt: link.expiresAt, proofEndsAt: expiresAt ?? null };
  await db.run((tx) =>
    tx.session.create({ data: { tenantId: db.tenantId, hash, kind: 'link', actor, ...ends } }),
  );
  return link;
}

/** As createLink, for an operator of the platform. */
export async function createOperatorLink(db: Db, { actor, expiresAt }: Asking, now: Date): Promise<Link> {
  const link = newLink(now, expiresAt);
  await db.query(
    `INSERT INTO operator_sessions (hash, kind, operator_id, expires_at, proof_ends_at)
     VALUES ($1, 'link', $2, $3, $4)`,
    [hashOf(link.token), actor, link.expiresAt, expiresAt ?? null],
  );
  return link;
}

/** Whom a link would sign in, by actor and by the name that people know; it stays usable. undefined: nobody any more. */
export async function findLink(
  db: Db,
  token: string,
): Promise<{ readonly viewer: Viewer; readonly name: string } | undefined> {
  if (!TOKEN.test(token)) return undefined;
  const hash = [hashOf(token)];
  const [row] = await db.query<SessionRow & Known>(FIND_LINK, hash);
  const [operator] = row ? [] : await db.query<OperatorRow & Known>(FIND_OPERATOR_LINK, hash);
  const viewer = await viewerOf(db, row, operator);
  return viewer && { viewer, name: row?.name ?? operator?.name ?? '' };
}

/** Uses up a link and opens a session; undefined when it is unknown, expired or used. Two callers at once: one wins. */
export async function consumeLink(db: Db, token: string): Promise<OpenedSession | undefined> {
  if (!TOKEN.test(token)) return undefined;
  const session = newToken();
  const hashes = [hashOf(token), hashOf(session), SESSION_SECONDS_MAX];
  const [row] = await db.query<SessionRow & Ends>(CONSUME, hashes);
  const [operator] = row ? [] : await db.query<OperatorRow & Ends>(CONSUME_OPERATOR, hashes);
  const viewer = await viewerOf(db, row, operator);
  const expiresAt = (row ?? operator)?.expires_at;
  return viewer && expiresAt && { viewer, token: session, expiresAt };
}

interface OpenedSession {
  readonly viewer: Viewer;
  readonly token: string;
  readonly expiresAt: Date;
}
interface Ends {
  readonly expires_at: Date;
}
interface Known {
  readonly name: string | null;
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
    RETURNING s.tenant_id, s.actor, s.proof_ends_at)
  INSERT INTO sessions (tenant_id, hash, kind, actor, proof_ends_at, expires_at)
  SELECT tenant_id, $2, 'session', actor, proof_ends_at, least(now() + make_interval(secs => $3), proof_ends_at)
    FROM link
  RETURNING tenant_id, actor, expires_at`;
const CONSUME_OPERATOR = `
  WITH old AS (DELETE FROM operator_sessions WHERE expires_at < now() - interval '1 day'),
  link AS (
    UPDATE operator_sessions s SET used_at = now()
     WHERE s.hash = $1 AND s.kind = 'link' AND s.used_at IS NULL AND s.expires_at > now()
    RETURNING s.operator_id, s.proof_ends_at)
  INSERT INTO operator_sessions (hash, kind, operator_id, proof_ends_at, expires_at)
  SELECT $2, 'session', operator_id, proof_ends_at, least(now() + make_interval(secs => $3), proof_ends_at)
    FROM link
  RETURNING operator_id, expires_at`;

/** The name of the key or the address of the person, so that whoever opens a link sees whose it is. */
const FIND_LINK = `
  SELECT s.tenant_id, s.actor, coalesce(k.name, m.email, m.name) AS name FROM sessions s
    LEFT JOIN api_keys k ON k.tenant_id = s.tenant_id AND s.actor = 'key:' || k.prefix
    LEFT JOIN members m ON m.tenant_id = s.tenant_id AND s.actor = 'user:' || m.id
   WHERE s.hash = $1 AND s.kind = 'link' AND s.used_at IS NULL AND s.expires_at > now()`;
const FIND_OPERATOR_LINK = `
  SELECT s.operator_id, o.name FROM operator_sessions s
    LEFT JOIN platform_operators o ON s.operator_id = 'operator:' || o.id
   WHERE s.hash = $1 AND s.kind = 'link' AND s.used_at IS NULL AND s.expires_at > now()`;

const FIND = `SELECT s.tenant_id, s.actor FROM sessions s
   WHERE s.hash = $1 AND s.kind = 'session' AND s.expires_at > now()`;
const FIND_OPERATOR = `SELECT s.operator_id FROM operator_sessions s
   WHERE s.hash = $1 AND s.kind = 'session' AND s.expires_at > now()`;

const newToken = (): string => randomBytes(32).toString('base64url');
const newLink = (now: Date, proofEndsAt: Date | undefined): Link => ({
  token: newToken(),
  expiresAt: new Date(Math.min(now.getTime() + LINK_MS, proofEndsAt?.getTime() ?? Infinity)),
});
const hashOf = (token: string): Buffer => createHash('sha256').update(token).digest();
