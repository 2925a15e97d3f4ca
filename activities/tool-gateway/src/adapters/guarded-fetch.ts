import http from 'node:http';
import https from 'node:https';
import { Readable } from 'node:stream';
import type { Egress } from './egress.js';
import { boundHints, targetOf, whenConnected } from './http-transport.js';

/** Less than the platform's `fetch`: a URL, and a body that is text. */
export type GuardedFetch = (input: string | URL, init?: RequestInit) => Promise<Response>;

/** The request was refused before its first byte. */
export class NotSent extends Error {
  override readonly name = 'NotSent';
}

/**
 * `fetch` for clients of others that want one: the address is judged when the socket connects, this host is asked
 * whether it may still act before the first byte, redirects are refused, and nothing is decoded.
 */
export function createGuardedFetch(egress: Egress, mayWrite: () => boolean): GuardedFetch {
  return (input, init = {}) =>
    new Promise((resolve, reject) => {
      const url = new URL(input);
      const target = targetOf(url, false);
      egress.checkLiteral(target);
      const options: https.RequestOptions = {
        method: init.method ?? 'GET',
        headers: Object.fromEntries(new Headers(init.headers)),
        agent: false,
        lookup: egress.lookupFor(target),
        maxHeaderSize: 32_768,
        ...(init.signal ? { signal: init.signal } : {}),
      };
      const outgoing = url.protocol === 'https:' ? https.request(url, options) : http.request(url, options);
      boundHints(outgoing);
      outgoing.on('error', reject);
      // an answer that changes the protocol closes without an error and without an answer; after one this says nothing
      outgoing.on('close', () => reject(new Error('the server closed without an answer')));
      outgoing.on('response', (incoming) => {
        // as in the transport: nothing of a request leaves after its answer
        incoming.on('end', () => outgoing.writableFinished || outgoing.destroy());
        try {
          resolve(responseOf(incoming));
        } catch (error) {
          outgoing.destroy();
          reject(error as Error);
        }
      });
      outgoing.on('socket', (socket) =>
        whenConnected(socket, () => {
          if (outgoing.destroyed) return;
          if (!mayWrite()) return outgoing.destroy(new NotSent('this host may no longer act'));
          outgoing.end(typeof init.body === 'string' ? init.body : undefined);
        }),
      );
    });
}

/** @throws Error for a redirect, which would take the request to a place that nobody authorised, and for encodings. */
function responseOf(incoming: http.IncomingMessage): Response {
  const status = incoming.statusCode ?? 0;
  if (status >= 300 && status < 400) throw new Error(`the server redirects (HTTP ${status})`);
  if ((incoming.headers['content-encoding'] ?? 'identity') !== 'identity') {
    throw new Error('the server encodes what it was not asked to');
  }
  const headers = new Headers();
  for (const [name, values = []] of Object.entries(incoming.headersDistinct)) {
    for (const value of values) headers.append(name, value);
  }
  const isEmpty = status === 204 || status === 205;
  if (isEmpty) incoming.resume();
  const body = isEmpty ? null : (Readable.toWeb(incoming) as ReadableStream<Uint8Array>);
  return new Response(body, { status, headers });
}
