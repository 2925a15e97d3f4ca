import type { Json } from '@bulkhead/contract';
import type { HttpTool } from '@bulkhead/contract/schemas';
import { credentialHeader, failed, refusal } from './adapter.js';
import type { Adapter, Ending, Invocation } from './adapter.js';
import type { Exchange, HttpTransport, NotSentWhy } from './http-transport.js';

/** JSON over HTTP. Arguments that stand in the URL's path go there, the others into the body or the query. */
export function createHttpAdapter(transport: HttpTransport): Adapter<HttpTool> {
  return async (invocation) => {
    const refused = refusal(invocation);
    if (refused) return refused;
    const { spec, url, idempotencyKey, signal, stillMine } = invocation;
    if (!url) return { kind: 'not_sent', refusal: 'denied', message: 'The tool has no destination.' };
    const { target, body } = place(invocation, url);
    const answer = await transport.send({
      method: spec.method,
      url: target,
      headers: {
        accept: 'application/json',
        'user-agent': 'bulkhead',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(spec.idempotency === 'keyed' ? { 'idempotency-key': idempotencyKey } : {}),
        ...credentialHeader(invocation),
      },
      body,
      answerBytesMax: spec.answerBytesMax,
      signal,
      stillMine,
      ownConnection: spec.idempotency === 'none',
      agentChosen: spec.urlArgument !== undefined,
    });
    return classifyHttp(answer, spec.idempotency);
  };
}

function place({ spec, args }: Invocation<HttpTool>, url: URL): { target: URL; body: string | undefined } {
  const inPath = new Set([...(spec.url ?? '').matchAll(/\{([^{}]+)\}/g)].map((match) => match[1]));
  const rest = Object.entries(args).filter(([name]) => !inPath.has(name) && name !== spec.urlArgument);
  if (spec.method !== 'GET' && spec.method !== 'DELETE') {
    return { target: url, body: JSON.stringify(Object.fromEntries(rest)) };
  }
  const target = new URL(url);
  for (const [name, value] of rest) {
    target.searchParams.set(name, typeof value === 'string' ? value : JSON.stringify(value));
  }
  return { target, body: undefined };
}

/** The one place where an HTTP exchange gets its meaning. Messages quote the answer; the gateway redacts them. */
export function classifyHttp(answer: Exchange, idempotency: HttpTool['idempotency']): Ending {
  if (answer.kind === 'not_sent') return notSent(answer.why);
  if (answer.kind === 'unknown')
    return { kind: 'unknown', message: `The tool gave no answer (${answer.why}).` };
  const { status } = answer;
  if (status === 429 || status === 503) {
    const retryAfterMs = pauseOf(answer.retryAfter);
    return {
      kind: 'answered',
      outcome: 'provider_unavailable',
      message: `The tool is not available (HTTP ${status}).`,
      asksForPause: status === 429 || retryAfterMs !== undefined,
      retryAfterMs,
    };
  }
  // a proxy that lost its upstream cannot say whether the upstream acted
  if (status === 502 || status === 504)
    return { kind: 'unknown', message: `A gateway answered HTTP ${status}.` };
  if (answer.kind === 'cut') {
    // broken off: what can be repeated is asked again, what cannot was answered by its status
    if (answer.why === 'broken' && idempotency !== 'none')
      return { kind: 'unknown', message: 'The answer broke off.' };
    if (answer.why === 'encoding')
      return failed(`The tool answered HTTP ${status} in an encoding that is not read.`);
    return failed(`The tool answered HTTP ${status}, and the answer is too large or broke off.`);
  }
  if (status < 200) return failed(`The tool answered HTTP ${status}, which is no answer.`);
  if (status >= 300 && status < 400)
    return failed(`The tool answered with a redirect (HTTP ${status}), which is not followed.`);
  if (status >= 400) return failed(`The tool answered HTTP ${status}: ${answer.text}`);
  if (answer.text.trim() === '') return { kind: 'answered', outcome: 'ok', value: null };
  const value = parse(answer.text);
  return value === undefined
    ? failed(`The tool answered HTTP ${status}, but not with JSON.`)
    : { kind: 'answered', outcome: 'ok', value };
}

export function notSent(why: NotSentWhy): Ending {
  switch (why) {
    case 'forbidden_address':
      return {
        kind: 'not_sent',
        refusal: 'denied',
        message: 'The destination is inside a private network and this installation does not allow it.',
      };
    case 'connect':
      return { kind: 'not_sent', refusal: 'unreachable', message: 'The tool cannot be reached.' };
    case 'aborted':
      return {
        kind: 'not_sent',
        refusal: 'provider_unavailable',
        message: 'The call was stopped before it was sent.',
      };
    case 'not_mine':
      return { kind: 'not_sent', refusal: 'host_fenced', message: 'This host may no longer act.' };
  }
}

/** `Retry-After` in milliseconds: seconds or a date; undefined when it is neither. */
export function pauseOf(retryAfter: string | undefined, nowMs = Date.now()): number | undefined {
  if (retryAfter === undefined) return undefined;
  if (/^\d{1,9}$/.test(retryAfter)) return Number(retryAfter) * 1_000;
  // what Date.parse makes of `-5` is a year
  const date = retryAfter.endsWith('GMT') ? Date.parse(retryAfter) : Number.NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
}

/** undefined: not JSON, which has no undefined. */
function parse(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}
