import type { FastifyReply } from 'fastify';

/** A plain page of our own. `text` is one of our sentences, never input. */
export async function sendPage(reply: FastifyReply, status: number, text: string): Promise<void> {
  await send(
    reply.code(status),
    `<p>${text}</p>
<p>Sign in with a link of your own. It works once, for ten minutes:</p>
<pre>mutation { createSignInLink { url expiresAt } }</pre>
<p>Send it to <a href="/graphiql">/graphiql</a> with your API key, and open the URL that it answers.</p>`,
  );
}

/** Whom a link would sign in. A link can come from anybody, so nobody is signed in before they said that it is them. */
export async function sendQuestion(
  reply: FastifyReply,
  question: { readonly who: string; readonly what: string; readonly token: string; readonly proof: string },
): Promise<void> {
  await send(
    // a form of a page that tells no referrer at all says nothing about its origin either
    reply.code(200).header('referrer-policy', 'strict-origin'),
    `<p>Sign this browser in as <strong>${escaped(question.who)}</strong>, to see ${escaped(question.what)}?</p>
<p>Go on only if you asked for this link yourself. Otherwise you would work in the name of whoever made it.</p>
<form method="post" action="/sign-in">
<input type="hidden" name="token" value="${escaped(question.token)}">
<input type="hidden" name="proof" value="${escaped(question.proof)}">
<button>Sign in</button></form>`,
  );
}

async function send(reply: FastifyReply, body: string): Promise<void> {
  const html = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Bulkhead</title>
<body style="font-family: system-ui; max-width: 42rem; margin: 4rem auto; line-height: 1.5">
<h1>Temporal UI</h1>${body}</body></html>`;
  await reply
    .header('content-type', 'text/html; charset=utf-8')
    .header('content-security-policy', POLICY)
    .header('cache-control', 'no-store')
    .send(html);
}

const POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};
const escaped = (text: string): string => text.replace(/[&<>"']/g, (sign) => ENTITIES[sign] ?? '');
