import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { Controller, Get, Inject, NotFoundException, Res, StreamableFile } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { Public } from '../auth/permission.js';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';

const HINT = `# Press "Headers" below and give your key:
#   { "authorization": "Bearer bhk_..." }
{
  me { role tenant { id name namespace } }
  runs(first: 5) { nodes { id state reason { message rule } } }
}
`;

/** The query page, self-contained: it works without a network. */
@Controller()
export class GraphiqlController {
  private page: Promise<Buffer> | undefined;

  constructor(
    @Inject(API_DEPS) private readonly deps: { readonly settings: Pick<ApiDeps['settings'], 'graphiql'> },
  ) {}

  /** 9 MB of HTML, 2.5 MB compressed; every browser takes gzip. */
  @Get('graphiql')
  @Public('a page without data; each query needs a key')
  async show(@Res({ passthrough: true }) reply: FastifyReply): Promise<StreamableFile> {
    if (!this.deps.settings.graphiql) throw new NotFoundException();
    this.page ??= renderPage();
    const page = await this.page;
    // only now: an error must not go out as if it were this page
    reply.headers({ 'content-encoding': 'gzip', 'cache-control': 'no-cache' });
    return new StreamableFile(page, { type: 'text/html; charset=utf-8' });
  }
}

/** Rendered on first use only: loading the 9 MB would slow every start. */
async function renderPage(): Promise<Buffer> {
  const { renderGraphiQL } = await import('@graphql-yoga/render-graphiql');
  const html = renderGraphiQL({
    title: 'Bulkhead',
    endpoint: '/graphql',
    subscriptionsProtocol: 'WS',
    defaultQuery: HINT,
    headers: JSON.stringify({ authorization: 'Bearer ' }),
    shouldPersistHeaders: false,
  });
  return promisify(gzip)(withKeyForSockets(html));
}

/** Where the page hands the contents of its "Headers" to what sends a request. */
const HEADERS_OF_A_REQUEST = /extensions:\{headers:(\w+)\?\.headers\}/g;

/**
 * Browsers set no headers on websockets, and the page sends what it has as headers only: a subscription would be a
 * stranger's. Its client takes parameters of the connection from the same place.
 * @throws TypeError when the page is made in another way than we know
 */
export function withKeyForSockets(html: string): string {
  if (html.match(HEADERS_OF_A_REQUEST)?.length !== 1) throw new TypeError('GraphiQL has changed');
  return html.replace(
    HEADERS_OF_A_REQUEST,
    (_found, request: string) =>
      `extensions:{headers:${request}?.headers,connectionParams:${request}?.headers}`,
  );
}
