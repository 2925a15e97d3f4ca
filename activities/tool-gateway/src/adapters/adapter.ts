import type { Json, TenantId } from '@bulkhead/contract';
import type { ToolSpec } from '@bulkhead/contract/schemas';
import type { Lease } from '@bulkhead/secret-broker/line';

/** How a request can end (LINE: what is charged and whether it may be repeated follows from it, and from nothing else). */
export type Ending =
  | { readonly kind: 'answered'; readonly outcome: 'ok'; readonly value: Json }
  | {
      readonly kind: 'answered';
      readonly outcome: 'tool_failed' | 'provider_unavailable';
      readonly message: string;
      /** The tool said "not now" to us, not that it is ill: all calls of this tool wait. */
      readonly asksForPause?: boolean;
      /** How long, when it said so. */
      readonly retryAfterMs?: number | undefined;
    }
  /** Provably nothing left this process. */
  | {
      readonly kind: 'not_sent';
      readonly refusal: NotSent;
      readonly message: string;
      /** The MCP server offers something else than was approved. */
      readonly offer?: ToolOffer;
    }
  /** At least one byte may have left and no answer came. */
  | { readonly kind: 'unknown'; readonly message: string };

/**
 * Why nothing was sent: an answer for the author, or (`host_fenced`) work for another host. `unreachable` says something
 * about the tool, `provider_unavailable` does not.
 */
type NotSent = 'denied' | 'provider_unavailable' | 'unreachable' | 'host_fenced';

/** What a server offers under a tool's name now; `pin` null: nothing that could be approved. */
export interface ToolOffer {
  readonly pin: string | null;
  readonly description: string;
  readonly inputSchema: Json;
}

/** One admitted request. */
export interface Invocation<Spec extends ToolSpec = ToolSpec> {
  readonly tenantId: TenantId;
  readonly spec: Spec;
  readonly args: { readonly [name: string]: Json };
  /** Resolved by match, and what policy saw; undefined for a local MCP server. */
  readonly url: URL | undefined;
  readonly idempotencyKey: string;
  readonly lease: Lease | undefined;
  /** Cancel, shutdown, kill and the tool's timeout in one. */
  readonly signal: AbortSignal;
  /** Asked before anything is prepared: false when this host may have been fenced or the call was stopped. */
  readonly mayBegin: () => boolean;
  /** Asked once, right before the first byte of the call itself; after a yes the call counts as sent. */
  readonly stillMine: () => boolean;
}

/** Levels of an answer at most: a deeper one overflows the stack of whatever walks it afterwards. */
export const ANSWER_DEPTH_MAX = 64;

/** Never throws: whatever happens is one of the endings. */
export type Adapter<Spec extends ToolSpec> = (invocation: Invocation<Spec>) => Promise<Ending>;

export const failed = (message: string): Ending => ({ kind: 'answered', outcome: 'tool_failed', message });

/** The header that carries the credential; empty for a tool without one. */
export function credentialHeader({
  spec,
  lease,
}: Pick<Invocation, 'lease'> & { readonly spec: Pick<ToolSpec, 'credential'> }): Record<string, string> {
  if (!spec.credential || !lease) return {};
  const { header, prefix } = spec.credential.slot;
  return { [header]: `${prefix}${lease.reveal()}` };
}

/**
 * Why this request may not be sent, or undefined. A credential goes to its bound host only: a tool that an admin
 * points elsewhere, by mistake or not, must not carry it there.
 */
export function refusal({
  spec,
  lease,
  url,
  mayBegin,
  signal,
}: Pick<Invocation, 'lease' | 'url' | 'mayBegin' | 'signal'> & {
  readonly spec: Pick<ToolSpec, 'credential'>;
}): Ending | undefined {
  const notSent = (refusal: NotSent, message: string): Ending => ({
    kind: 'not_sent',
    refusal,
    message,
  });
  if (signal.aborted) return notSent('provider_unavailable', 'The call was stopped before it was sent.');
  if (!mayBegin()) return notSent('host_fenced', 'This host may no longer act.');
  if ((spec.credential === undefined) !== (lease === undefined)) {
    return notSent('denied', 'The credential of the tool is not at hand.');
  }
  if (lease && (!url || !lease.boundHosts.some((bound) => hostOf(url, bound) === url.host))) {
    return notSent(
      'denied',
      `The credential of this tool is bound to ${lease.boundHosts.join(', ')} and is sent nowhere else.`,
    );
  }
  return undefined;
}

/**
 * `host:443` and `host` are the same place under https. Under http a port must be named, and not that of https: who
 * binds a credential to a name alone has not said that it may travel unencrypted.
 */
function hostOf(url: URL, boundHost: string): string | undefined {
  const saysPlain = /:\d+$/.test(boundHost) && !boundHost.endsWith(':443');
  if (url.protocol !== 'https:' && !saysPlain) return undefined;
  return URL.parse(`${url.protocol}//${boundHost}`)?.host;
}
