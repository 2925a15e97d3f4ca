import type { FastifyReply } from 'fastify';

/** A plain page of our own. `text` is one of our sentences, never input. */
export async function sendPage(reply: FastifyReply, status: number, text: string): Promise<void> {
  const html = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Bulkhead</title>
<body style="font-family: system-ui; max-width: 42rem; margin: 4rem auto; line-height: 1.5">
<h1>Temporal UI</h1><p>${text}</p>
<p>Sign in with a link of your own. It works once, for ten minutes:</p>
<pre>mutation { createSignInLink { url expiresAt } }</pre>
<p>Send it to <a href="/graphiql">/graphiql</a> with your API key, and open the URL that it answers.</p></body></html>`;
  await reply
    .code(status)
    .header('content-type', 'text/html; charset=utf-8')
    .header('content-security-policy', "default-src 'none'; style-src 'unsafe-inline'")
    .header('cache-control', 'no-store')
    .send(html);
}
