import { isOneOf, NAMESPACE_READS, OPERATOR_READS, SYSTEM_READS } from './reads.js';

/** Which requests of Temporal UI pass, and with whose token. The only fence when the server checks no tokens. */
export type UiRoute =
  /** Files of the UI itself and its settings: no token. */
  | { readonly kind: 'asset'; readonly path: string }
  /** A read inside the person's own namespace: that tenant's read token. */
  | { readonly kind: 'tenant'; readonly path: string }
  /** Facts about the cluster without any tenant in them, and all that operators read: the system's read token. */
  | { readonly kind: 'system'; readonly path: string }
  /** The list of namespaces, answered with the person's own. */
  | { readonly kind: 'namespaces'; readonly path: string }
  | { readonly kind: 'refused' };

const BASE = '/temporal';
const REFUSED: UiRoute = { kind: 'refused' };

/**
 * Decides by the raw target of the request, exactly as it would be sent on. Another tenant's namespace gets the same
 * answer as one that does not exist. `ownNamespace` is undefined for operators of the platform, who may read all of them.
 */
export function routeOf(target: string, ownNamespace: string | undefined): UiRoute {
  const [path = '', query = ''] = splitOnce(target, '?');
  const segments = path.slice(BASE.length).split('/').slice(1);
  if (!path.startsWith(`${BASE}/`) && path !== BASE) return REFUSED;
  if (!segments.every((segment, i) => isPlain(segment, i === segments.length - 1))) return REFUSED;
  const first = decodeURIComponent(segments[0] ?? '').toLowerCase();
  // a server may decode once more or cut a parameter off: what then begins with these names is no file either
  const name = first.split(/[/;]/)[0];
  if (name !== 'api' && name !== 'auth') return { kind: 'asset', path: target };
  const [api, version, ...rest] = segments;
  if (api !== 'api' || version !== 'v1') return REFUSED;
  const asked = query === '' ? path : `${path}?${query}`;
  if (isOneOf(['settings'], rest)) return { kind: 'asset', path };
  if (isOneOf(SYSTEM_READS, rest)) return { kind: 'system', path };
  return ownNamespace === undefined ? ofOperator(rest, asked) : ofTenant(rest, path, asked, ownNamespace);
}

function ofOperator(rest: readonly string[], asked: string): UiRoute {
  const [resource, , ...read] = rest;
  const isNamespace = resource === 'namespaces' && (rest.length === 2 || isOneOf(NAMESPACE_READS, read));
  return isNamespace || isOneOf(OPERATOR_READS, rest) ? { kind: 'system', path: asked } : REFUSED;
}

function ofTenant(rest: readonly string[], path: string, asked: string, ownNamespace: string): UiRoute {
  const [resource, namespace, ...read] = rest;
  if (resource !== 'namespaces') return REFUSED;
  // instead of filtering a list of all tenants, only the own one is read
  if (namespace === undefined)
    return { kind: 'namespaces', path: `${BASE}/api/v1/namespaces/${ownNamespace}` };
  if (namespace !== ownNamespace) return REFUSED;
  // describing a namespace also takes ?id=, which could name another: no query there
  if (read.length === 0) return { kind: 'tenant', path };
  return isOneOf(NAMESPACE_READS, read) ? { kind: 'tenant', path: asked } : REFUSED;
}

/**
 * No way to climb: a segment is refused when it is or decodes to a dot segment, or hides a backslash, a control
 * character or a second layer of encoding. An encoded slash is fine inside a workflow id, not with dots beside it.
 */
function isPlain(segment: string, isLast: boolean): boolean {
  if (segment === '') return isLast;
  let decoded: string;
  try {
    decoded = decodeURIComponent(segment);
  } catch {
    return false;
  }
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f\\%]/.test(decoded)) return false;
  return decoded.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}
