import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingMessage } from 'node:http';

/**
 * The demo's model when no real one is configured: an OpenAI-compatible endpoint whose answers are written by hand.
 * It is not a language model and says so in every answer. `node scripted-model.js --config FILE --port N`;
 * FILE (0600) holds `{ keys: { customer: key } }`.
 */
export const SCRIPTED_MODEL = 'scripted-demo';
const DISCLAIMER = '(scripted answer, no language model was asked)';

/** Rules of thumb over the last message: the first one whose word occurs gives the answer. */
const SCRIPT: readonly (readonly [word: string, answer: string])[] = [
  ['invoice', 'Thank you for telling us. We have corrected the address and sent you a new invoice.'],
  ['password', 'We have sent a new reset link. It is valid for one hour.'],
  [
    'refund',
    'We are sorry that your delivery was lost. Your refund is on its way and takes up to five days.',
  ],
  ['', 'Thank you for your message. A colleague will look into it today.'],
];

interface ChatRequest {
  readonly messages?: readonly { readonly role?: string; readonly content?: string }[];
}

/** The chat completion for a request, in OpenAI's shape; counts words as tokens. */
export function scriptedCompletion(request: ChatRequest): object {
  const text = (request.messages ?? []).map((message) => message.content ?? '').join('\n');
  const answer = SCRIPT.find(([word]) => text.toLowerCase().includes(word))?.[1] ?? '';
  const content = `${answer} ${DISCLAIMER}`;
  const words = (of: string): number => of.split(/\s+/).length;
  return {
    id: `scripted-${createHash('sha256').update(text).digest('hex').slice(0, 12)}`,
    object: 'chat.completion',
    model: SCRIPTED_MODEL,
    choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content } }],
    usage: {
      prompt_tokens: words(text),
      completion_tokens: words(content),
      total_tokens: words(text) + words(content),
    },
  };
}

async function json(request: IncomingMessage): Promise<ChatRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString('utf8')) as ChatRequest;
}

/** Starts the service on 127.0.0.1 and tells the parent when it listens. */
export function main(argv: readonly string[]): void {
  const option = (name: string): string => argv[argv.indexOf(name) + 1] ?? '';
  const { keys } = JSON.parse(readFileSync(option('--config'), 'utf8')) as { keys: Record<string, string> };
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  const allowed = Object.values(keys).map(digest);
  const server = createServer((request, response) => {
    const reply = (status: number, body: object): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    if (request.url === '/healthz') return reply(200, { ok: true });
    const given = digest((request.headers.authorization ?? '').replace(/^Bearer /, ''));
    if (!allowed.some((key) => timingSafeEqual(key, given)))
      return reply(401, { error: { message: 'unknown key' } });
    if (request.method !== 'POST' || request.url !== '/v1/chat/completions')
      return reply(404, { error: { message: 'not found' } });
    json(request).then(
      (body) => reply(200, scriptedCompletion(body)),
      () => reply(400, { error: { message: 'the body is not JSON' } }),
    );
  });
  server.listen(Number(option('--port')), '127.0.0.1', () => process.send?.({ type: 'ready' }));
  process.on('SIGTERM', () => {
    server.close(() => process.exit(0));
    server.closeAllConnections();
  });
}

if (process.argv[1]?.endsWith('scripted-model.js')) main(process.argv.slice(2));
