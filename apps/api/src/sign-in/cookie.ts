import { createHash, randomBytes } from 'node:crypto';

const NAME = 'bulkhead_session';
const ASKED = 'bulkhead_sign_in';
/** As long as a link lives. */
const ASKED_SECONDS = 600;

/** Not readable by scripts, not sent along by other sites' forms, and only where Temporal UI and its codec are. */
export function sessionCookies(
  session: { readonly token: string; readonly expiresAt: Date },
  publicUrl: string,
  now: Date,
): string[] {
  const seconds = Math.max(0, Math.floor((session.expiresAt.getTime() - now.getTime()) / 1_000));
  return ['/temporal', '/codec'].map(
    (path) =>
      `${NAME}=${session.token}; Path=${path}; Max-Age=${seconds}; HttpOnly; SameSite=Lax${secure(publicUrl)}`,
  );
}

/** The session token of a Cookie header; undefined when it has none. */
export const sessionToken = (header: string | undefined): string | undefined => valueOf(header, NAME);

/**
 * Binds the page that asks "sign in as ...?" to the browser that it was shown in: its form carries `proof`, and only this
 * browser has the cookie from which it was made. A page of another site can make neither.
 */
export function bindToBrowser(link: string, publicUrl: string): { cookie: string; proof: string } {
  const secret = randomBytes(32).toString('base64url');
  const cookie = `${ASKED}=${secret}; Path=/sign-in; Max-Age=${ASKED_SECONDS}; HttpOnly; SameSite=Strict${secure(publicUrl)}`;
  return { cookie, proof: proofOf(secret, link) };
}

/** Whether the form was shown for this link in the browser that sends it back. */
export function isBound(header: string | undefined, link: string, proof: string): boolean {
  const secret = valueOf(header, ASKED);
  return secret !== undefined && proofOf(secret, link) === proof;
}

const proofOf = (secret: string, link: string): string =>
  createHash('sha256').update(`${secret} ${link}`).digest('base64url');

const secure = (publicUrl: string): string => (publicUrl.startsWith('https:') ? '; Secure' : '');

function valueOf(header: string | undefined, name: string): string | undefined {
  const pairs = (header ?? '').split(';').map((pair) => pair.trim());
  return pairs.find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1);
}
