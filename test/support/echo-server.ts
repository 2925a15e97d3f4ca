import { createServer } from 'node:http';
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';

/** A tool that gives back the credential it was called with, wherever and however it is told to by its path. */

const unicode = (text: string): string =>
  [...text].map((char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`).join('');

/** How services echo what they were sent. */
export const FORMS: Readonly<Record<string, (secret: string) => string>> = {
  raw: (secret) => secret,
  bearer: (secret) => `Bearer ${secret}`,
  base64: (secret) => Buffer.from(secret).toString('base64'),
  basic: (secret) => Buffer.from(`user:${secret}`).toString('base64'),
  base64url: (secret) => Buffer.from(`ab:${secret}:c`).toString('base64url'),
  percent: (secret) => encodeURIComponent(secret),
  percentTwice: (secret) => encodeURIComponent(encodeURIComponent(secret)),
  hex: (secret) => Buffer.from(secret).toString('hex'),
  HEX: (secret) => Buffer.from(secret).toString('hex').toUpperCase(),
  json: (secret) => JSON.stringify({ token: secret }),
  unicode,
  reversed: (secret) => [...secret].toReversed().join(''),
};

/** Where it says it. */
export const PLACES = [
  'value',
  'key',
  'deep',
  'error',
  'failure',
  'redirect',
  'header',
  'status',
  'notJson',
] as const;

/** How the bytes travel. */
export const TRANSPORTS: Readonly<Record<string, (body: Buffer) => Buffer>> = {
  identity: (body) => body,
  gzip: (body) => gzipSync(body),
  deflate: (body) => deflateSync(body),
  rawDeflate: (body) => deflateRawSync(body),
  br: (body) => brotliCompressSync(body),
};

export interface EchoServer {
  readonly url: string;
  readonly host: string;
  /** What was said, before any compression: what a leak would consist of. */
  readonly said: string[];
  close(): Promise<void>;
}

export async function startEchoServer(): Promise<EchoServer> {
  const said: string[] = [];
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => echo(request, response, said));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: `http://${host}`,
    host,
    said,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function echo(request: IncomingMessage, response: ServerResponse, said: string[]): void {
  const [, , place = '', form = '', transport = '', pieces = ''] = decodeURIComponent(
    request.url ?? '',
  ).split(/[/:]/);
  const secret = (request.headers.authorization ?? '').replace('Bearer ', '');
  const text = FORMS[form]?.(secret) ?? '';
  const { status, headers, body } = answerAt(place, text);
  said.push(`${JSON.stringify(headers)}${body}`);
  const bytes = (TRANSPORTS[transport] ?? Buffer.from)(Buffer.from(body));
  const encoding = transport === 'rawDeflate' ? 'deflate' : transport;
  response.writeHead(status, place === 'status' ? text.replaceAll(/[^\x20-\x7e]/g, '') : undefined, {
    ...headers,
    ...(encoding === 'identity' ? {} : { 'content-encoding': encoding }),
  });
  if (pieces !== 'pieces') return void response.end(bytes);
  // a chunk per byte: the credential lies across chunk boundaries wherever they could be
  for (const byte of bytes) response.write(Buffer.of(byte));
  response.end();
}

function answerAt(
  place: string,
  text: string,
): { status: number; headers: OutgoingHttpHeaders; body: string } {
  const inHeader = encodeURI(text);
  switch (place) {
    case 'key':
      return { status: 200, headers: {}, body: JSON.stringify({ [text]: 1 }) };
    case 'deep':
      return { status: 200, headers: {}, body: JSON.stringify([[{ a: [{ b: `x ${text} y` }] }]]) };
    case 'error':
      return { status: 403, headers: {}, body: JSON.stringify({ error: `no such key: ${text}` }) };
    case 'failure':
      return { status: 500, headers: {}, body: `<pre>Error: ${text}\n    at handler</pre>` };
    case 'redirect':
      return { status: 302, headers: { location: `https://elsewhere.example/?key=${inHeader}` }, body: '' };
    case 'header':
      return { status: 200, headers: { 'x-key': inHeader, 'set-cookie': `key=${inHeader}` }, body: '{}' };
    case 'status':
      return { status: 418, headers: {}, body: '' };
    case 'notJson':
      return { status: 200, headers: { 'content-type': 'text/plain' }, body: `key ${text}` };
    default:
      return { status: 200, headers: {}, body: JSON.stringify({ said: text }) };
  }
}
