import { SESSION_SECONDS } from './sessions.js';

const NAME = 'bulkhead_session';

/** Not readable by scripts, not sent along by other sites' forms, and only where Temporal UI and its codec are. */
export function sessionCookies(token: string, publicUrl: string): string[] {
  const secure = publicUrl.startsWith('https:') ? '; Secure' : '';
  return ['/temporal', '/codec'].map(
    (path) => `${NAME}=${token}; Path=${path}; Max-Age=${SESSION_SECONDS}; HttpOnly; SameSite=Lax${secure}`,
  );
}

/** The session token of a Cookie header; undefined when it has none. */
export function sessionToken(header: string | undefined): string | undefined {
  const pairs = (header ?? '').split(';').map((pair) => pair.trim());
  return pairs.find((pair) => pair.startsWith(`${NAME}=`))?.slice(NAME.length + 1);
}
