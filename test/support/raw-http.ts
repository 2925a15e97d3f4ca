import { Agent, request } from 'node:http';

export interface RawAnswer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly text: string;
  readonly ms: number;
}

export interface RawRequest {
  readonly path?: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Buffer;
  /** In pieces, without a length. */
  readonly chunked?: boolean;
}

/** Connections that are kept, so that a request is measured without the opening of one. */
export function rawHttp(base: string): { send(given?: RawRequest): Promise<RawAnswer>; close(): void } {
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  const send = ({
    path = '/graphql',
    method = 'POST',
    headers = {},
    body,
    chunked,
  }: RawRequest = {}): Promise<RawAnswer> =>
    new Promise((resolve, reject) => {
      const started = performance.now();
      const length =
        body === undefined || chunked ? {} : { 'content-length': String(Buffer.byteLength(body)) };
      let answered = false;
      const outgoing = request(`${base}${path}`, { method, headers: { ...length, ...headers }, agent });
      outgoing.on('response', (incoming) => {
        answered = true;
        const parts: Buffer[] = [];
        incoming.on('data', (part: Buffer) => parts.push(part));
        incoming.on('error', reject);
        incoming.on('end', () =>
          resolve({
            status: incoming.statusCode ?? 0,
            headers: incoming.headers,
            text: Buffer.concat(parts).toString(),
            ms: performance.now() - started,
          }),
        );
      });
      // a server that has refused does not read on
      outgoing.on('error', (error) => (answered ? undefined : reject(error)));
      outgoing.end(body);
    });
  return { send, close: () => agent.destroy() };
}

/** Public codes of a GraphQL answer; `undefined` when it is none. */
export function codesOf(text: string): string[] | undefined {
  try {
    const { errors = [] } = JSON.parse(text) as { errors?: { extensions?: { code?: string } }[] };
    return errors.map(({ extensions }) => extensions?.code ?? 'no code');
  } catch {
    return undefined;
  }
}
