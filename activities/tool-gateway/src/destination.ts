import type { Json } from '@bulkhead/contract';
import type { ToolSpec } from '@bulkhead/contract/schemas';

export interface Destination {
  /** undefined for a local MCP server. */
  readonly url: URL | undefined;
  /** What policy sees. */
  readonly fact: { readonly host: string; readonly port?: number; readonly path: string };
  /** What people see in approvals and the journal: never more than place and action. */
  readonly target: string;
}

export interface BadDestination {
  /** Argument that is wrong. */
  readonly field: string;
  readonly message: string;
}

/** Resolves where a call goes, once: policy, approval and adapter all use this answer. */
export function resolveDestination(
  spec: ToolSpec,
  args: { readonly [name: string]: Json },
): Destination | BadDestination {
  switch (spec.adapter) {
    case 'mcp':
      return 'stdio' in spec.server
        ? localServer(spec.server.stdio, spec.tool)
        : at(new URL(spec.server.url), `mcp ${spec.tool} at`);
    case 'model':
      return at(new URL(`${spec.baseUrl.replace(/\/+$/, '')}/chat/completions`), `ask ${spec.model} at`);
    case 'http': {
      if (spec.urlArgument === undefined) return fromTemplate(spec.url ?? '', args, spec.method);
      return fromArgument(spec.urlArgument, args[spec.urlArgument], spec.method);
    }
  }
}

/** Where the calls of a tool go, as far as that is known without one. */
export interface OpenDestination {
  readonly host: string;
  readonly port?: number;
  /** undefined: arguments stand in it. */
  readonly path: string | undefined;
}

/** undefined: an argument is the destination. */
export function openDestination(spec: ToolSpec): OpenDestination | undefined {
  if (spec.adapter === 'http' && spec.urlArgument !== undefined) return undefined;
  const places = spec.adapter === 'http' ? [...(spec.url ?? '').matchAll(/\{([^{}]+)\}/g)] : [];
  const args = Object.fromEntries(places.map(([, name = '']) => [name, 'x']));
  const resolved = resolveDestination(spec, args);
  if ('field' in resolved) return undefined;
  return { ...resolved.fact, path: places.length === 0 ? resolved.fact.path : undefined };
}

const localServer = (server: string, tool: string): Destination => ({
  url: undefined,
  fact: { host: `mcp:${server}`, path: tool },
  target: `mcp ${tool} at ${server}`,
});

function at(url: URL, action: string): Destination {
  // `host.` and `host` are one place, so a deny list must see one name; the port is a fact of its own
  const host = url.hostname.replace(/\.+$/, '');
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  return {
    url,
    fact: { host, port, path: url.pathname },
    target: `${action} ${url.origin}${url.pathname}`,
  };
}

function fromTemplate(
  template: string,
  args: { readonly [name: string]: Json },
  method: string,
): Destination | BadDestination {
  let bad: BadDestination | undefined;
  const text = template.replaceAll(/\{([^{}]+)\}/g, (_, name: string) => {
    const value = args[name];
    const part = typeof value === 'string' || typeof value === 'number' ? String(value) : '';
    // a dot segment would walk up the path, even percent-encoded: the URL parser resolves it
    if (part === '' || part === '.' || part === '..') {
      bad ??= { field: name, message: `${name} cannot be a part of a URL.` };
    }
    return encodeURIComponent(part);
  });
  if (bad) return bad;
  return at(new URL(text), method);
}

function fromArgument(name: string, value: Json | undefined, method: string): Destination | BadDestination {
  const url = typeof value === 'string' ? URL.parse(value) : null;
  if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:') || url.hostname === '') {
    return { field: name, message: `${name} must be an http or https URL.` };
  }
  if (url.username !== '' || url.password !== '') {
    return { field: name, message: `${name} must not contain a login.` };
  }
  url.hash = '';
  return at(url, method);
}
