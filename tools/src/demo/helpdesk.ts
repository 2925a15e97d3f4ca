import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * The demo's helpdesk: a small ticket service, a process of its own that knows nothing of Bulkhead. It checks a key
 * per customer, honours `idempotency-key` (unless started with `--ignore-keys`) and counts the changes it made.
 * `node helpdesk.js --config FILE --port N`; FILE (0600) holds `{ keys: { customer: key }, delayMs? }`.
 */
interface Ticket {
  id: string;
  customer: string;
  subject: string;
  body: string;
  status: 'open' | 'answered';
  answer: string | null;
}

interface Settings {
  readonly keys: Record<string, string>;
  readonly ignoreKeys: boolean;
  /** How long a change takes before it answers: room for tests that kill the caller in the middle. */
  readonly delayMs: number;
}

const MAX_BODY_BYTES = 64 * 1024;
const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

function tickets(): Map<string, Ticket> {
  const open = (id: string, customer: string, subject: string, body: string): [string, Ticket] => [
    id,
    { id, customer, subject, body, status: 'open', answer: null },
  ];
  return new Map([
    open(
      'T-1001',
      'acme',
      'Invoice shows the wrong address',
      'Our March invoice still has the old office. Please correct it.',
    ),
    open('T-1002', 'acme', 'Cannot reset my password', 'The reset link says that it has expired.'),
    open(
      'T-2001',
      'globex',
      'Refund for order 7741',
      'The second delivery never arrived. I would like my money back.',
    ),
    open('T-2002', 'globex', 'Change of contact', 'Please use ops@globex.example from now on.'),
  ]);
}

/** The request handler with its own state; exported so that tests can run it in process as well. */
export function createHelpdesk(
  settings: Settings,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  const store = tickets();
  const answered = new Map<string, string>();
  const effects: { customer: string; ticketId: string; key: string | null; at: string }[] = [];
  let requests = 0;

  const customerOf = (request: IncomingMessage): string | undefined => {
    const given = digest((request.headers.authorization ?? '').replace(/^Bearer /, ''));
    return Object.entries(settings.keys).find(([, key]) => timingSafeEqual(digest(key), given))?.[0];
  };

  const update = async (
    customer: string,
    ticket: Ticket,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> => {
    const { answer } = JSON.parse(await readBody(request)) as { answer?: unknown };
    if (typeof answer !== 'string') return send(response, 422, { error: 'answer must be a text' });
    const header = request.headers['idempotency-key'];
    const key = typeof header === 'string' ? `${customer}/${header}` : null;
    requests += 1;
    const earlier = key === null || settings.ignoreKeys ? undefined : answered.get(key);
    if (earlier !== undefined) return send(response, 200, JSON.parse(earlier));
    Object.assign(ticket, { answer, status: 'answered' });
    effects.push({ customer, ticketId: ticket.id, key, at: new Date().toISOString() });
    if (key !== null) answered.set(key, JSON.stringify(ticket));
    if (settings.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, settings.delayMs));
    send(response, 200, ticket);
  };

  return async (request, response) => {
    const path = new URL(request.url ?? '/', 'http://helpdesk').pathname;
    if (path === '/healthz') return send(response, 200, { ok: true });
    const customer = customerOf(request);
    if (customer === undefined) return send(response, 401, { error: 'unknown key' });
    if (path === '/effects')
      return send(response, 200, {
        effects: effects.filter((effect) => effect.customer === customer),
        requests,
      });
    const ticket = store.get(decodeURIComponent(path.replace(/^\/tickets\//, '')));
    // another customer's ticket looks like one that does not exist
    if (!ticket || ticket.customer !== customer) return send(response, 404, { error: 'no such ticket' });
    if (request.method === 'GET') return send(response, 200, ticket);
    if (request.method === 'PATCH') return update(customer, ticket, request, response);
    send(response, 405, { error: 'GET or PATCH' });
  };
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw new Error('body too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Starts the service on 127.0.0.1 and tells the parent when it listens. */
export function main(argv: readonly string[]): void {
  const option = (name: string): string | undefined => argv[argv.indexOf(name) + 1];
  const file = JSON.parse(readFileSync(option('--config') ?? '', 'utf8')) as {
    keys: Record<string, string>;
    delayMs?: number;
  };
  const handler = createHelpdesk({
    keys: file.keys,
    ignoreKeys: argv.includes('--ignore-keys'),
    delayMs: file.delayMs ?? 0,
  });
  const server = createServer((request, response) => {
    handler(request, response).catch((error: unknown) => {
      console.error(error);
      if (!response.headersSent) send(response, 400, { error: 'bad request' });
      else response.destroy();
    });
  });
  server.listen(Number(option('--port')), '127.0.0.1', () => process.send?.({ type: 'ready' }));
  process.on('SIGTERM', () => {
    server.close(() => process.exit(0));
    server.closeAllConnections();
  });
}

if (process.argv[1]?.endsWith('helpdesk.js')) main(process.argv.slice(2));
