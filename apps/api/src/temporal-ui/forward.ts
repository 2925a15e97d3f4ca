import { request } from 'node:http';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { BulkheadError } from '@bulkhead/contract';

/** Named headers only, so the browser's cookie and authorization cannot slip through to the UI server. */
const REQUEST_HEADERS = [
  'accept',
  'accept-encoding',
  'accept-language',
  'if-none-match',
  'if-modified-since',
];
const ANSWER_HEADERS = [
  'content-type',
  'content-length',
  'content-encoding',
  'content-security-policy',
  'cache-control',
  'etag',
  'last-modified',
  'location',
  'vary',
];
const TIMEOUT_MS = 60_000;

export interface ForwardRequest {
  /** Base URL of the UI server. */
  readonly base: string;
  readonly method: 'GET' | 'HEAD';
  /** Path and query as they go on the wire. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly token: string | undefined;
}

export interface ForwardAnswer {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: IncomingMessage;
}

/** Sends the request on and returns the answer as it starts. @throws BulkheadError TEMPORAL_UNAVAILABLE */
export function forward(given: ForwardRequest): Promise<ForwardAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<ForwardAnswer>();
  const unavailable = (cause: unknown): void =>
    reject(new BulkheadError('TEMPORAL_UNAVAILABLE', { internal: 'Temporal UI does not answer', cause }));
  const base = new URL(given.base);
  const outgoing = request(
    {
      host: base.hostname,
      port: base.port,
      method: given.method,
      path: given.path,
      headers: {
        ...pick(given.headers, REQUEST_HEADERS),
        ...(given.token === undefined ? {} : { authorization: `Bearer ${given.token}` }),
      },
      timeout: TIMEOUT_MS,
    },
    (answer) =>
      resolve({
        status: answer.statusCode ?? 502,
        headers: pick(answer.headers, ANSWER_HEADERS),
        body: answer,
      }),
  );
  outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer in ${TIMEOUT_MS} ms`)));
  outgoing.on('error', unavailable);
  outgoing.end();
  return promise;
}

function pick(headers: IncomingHttpHeaders, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = headers[name];
      return typeof value === 'string' ? [[name, value]] : [];
    }),
  );
}
