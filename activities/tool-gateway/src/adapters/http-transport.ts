import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import { bodyOf } from './body.js';
import { ForbiddenAddress } from './egress.js';
import type { Egress, Target } from './egress.js';

export type NotSentWhy = 'connect' | 'aborted' | 'not_mine' | 'forbidden_address';

/** What the network says, before any vendor's meaning is put into it. */
export type Exchange =
  | {
      readonly kind: 'answered';
      readonly status: number;
      readonly text: string;
      readonly retryAfter: string | undefined;
    }
  /** The status is known, the body was larger than allowed or broke off. */
  | {
      readonly kind: 'cut';
      readonly status: number;
      readonly why: 'too_large' | 'broken' | 'encoding';
      readonly retryAfter: string | undefined;
    }
  | { readonly kind: 'not_sent'; readonly why: NotSentWhy }
  | { readonly kind: 'unknown'; readonly why: string };

interface HttpRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
  readonly answerBytesMax: number;
  readonly signal: AbortSignal;
  readonly stillMine: () => boolean;
  /**
   * A connection of its own: on a reused one that the other side has just closed, "was it sent?" has no answer, and
   * a tool that must not be repeated would end as indeterminate for nothing.
   */
  readonly ownConnection: boolean;
  /** The destination was chosen by an agent, not declared by an admin. */
  readonly agentChosen: boolean;
}

export interface HttpTransport {
  send(request: HttpRequest): Promise<Exchange>;
  close(): void;
}

/**
 * HTTP/1.1 on Node's own client, because it lets us hold back the first byte: the request is ended (and so written)
 * only when the socket is connected and this host has been asked once more whether it may act. Redirects are not
 * followed: they would carry the request, and its credential, to a place that nobody authorised.
 */
export function createHttpTransport(egress: Egress): HttpTransport {
  const keepAlive = { keepAlive: true, maxSockets: 64, maxFreeSockets: 16, timeout: 30_000 };
  const agents = { 'http:': new http.Agent(keepAlive), 'https:': new https.Agent(keepAlive) };
  return {
    send: (request) => exchange(request, agents, egress),
    close() {
      agents['http:'].destroy();
      agents['https:'].destroy();
    },
  };
}

type Agents = { readonly 'http:': http.Agent; readonly 'https:': https.Agent };

function exchange(request: HttpRequest, agents: Agents, egress: Egress): Promise<Exchange> {
  const { body, signal } = request;
  if (signal.aborted) return Promise.resolve({ kind: 'not_sent', why: 'aborted' });
  return new Promise((resolve) => {
    let sent = false;
    let settled = false;
    const end = (result: Exchange): void => {
      if (settled) return;
      settled = true;
      resolve(result);
    };
    let outgoing: http.ClientRequest;
    try {
      outgoing = open(request, agents, egress);
    } catch (error) {
      // the address is refused, or Node refuses the request as such (a header that is none, an unknown protocol)
      return end({ kind: 'not_sent', why: reasonOf(error as Error, signal) });
    }
    outgoing.on('error', (error: NodeJS.ErrnoException) => {
      if (sent) return end({ kind: 'unknown', why: signal.aborted ? 'aborted' : (error.code ?? error.name) });
      end({ kind: 'not_sent', why: reasonOf(error, signal) });
    });
    let responded = false;
    boundHints(outgoing);
    // an answer that changes the protocol closes without an error and without an answer
    outgoing.on('close', () => {
      if (responded) return;
      end(sent ? { kind: 'unknown', why: 'closed' } : { kind: 'not_sent', why: 'connect' });
    });
    const receive = async (incoming: http.IncomingMessage): Promise<void> => {
      responded = true;
      const answer = await readAnswer(incoming, request.answerBytesMax);
      // an answer that is not read to its end must not leave its socket in the pool; and one that came before we had said
      // everything ends the call: what is left of the request must not leave once the call is settled
      if (answer.kind === 'cut' || !outgoing.writableFinished) outgoing.destroy();
      end(answer);
    };
    outgoing.on('response', (incoming) => void receive(incoming));
    outgoing.on('socket', (socket) => {
      whenConnected(socket, () => {
        if (settled || outgoing.destroyed) return;
        if (!request.stillMine()) {
          end({ kind: 'not_sent', why: 'not_mine' });
          outgoing.destroy();
          return;
        }
        sent = true;
        outgoing.end(body);
      });
    });
  });
}

function open(request: HttpRequest, agents: Agents, egress: Egress): http.ClientRequest {
  const { url, method, headers, body, signal } = request;
  const secure = url.protocol === 'https:';
  const target = targetOf(url, request.agentChosen);
  egress.checkLiteral(target);
  const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
  const options: https.RequestOptions = {
    method,
    headers: { ...headers, ...length },
    signal,
    // connections to places that an admin declared are not shared with those that an agent chose
    agent: request.ownConnection || request.agentChosen ? false : agents[secure ? 'https:' : 'http:'],
    lookup: egress.lookupFor(target),
    // an answer's headers are bounded too
    maxHeaderSize: 32_768,
  };
  return secure ? https.request(url, options) : http.request(url, options);
}

/** Answers that only announce one (`103 Early Hints`) at most; a server that sends nothing else would never be done. */
const HINTS_MAX = 16;

/** Breaks a request off whose server announces its answer again and again. */
export function boundHints(outgoing: http.ClientRequest): void {
  let hints = 0;
  outgoing.on('information', () => {
    hints += 1;
    if (hints > HINTS_MAX) outgoing.destroy(new Error('the server announces more answers than it may'));
  });
}

/** Plain sockets speak after `connect`, encrypted ones after `secureConnect`; a reused one is ready as it is. */
export function whenConnected(socket: Socket, ready: () => void): void {
  const encrypted = 'encrypted' in socket && socket.encrypted === true;
  const handshaking = encrypted && 'secureConnecting' in socket && socket.secureConnecting === true;
  if (!socket.connecting && !handshaking) return ready();
  socket.once(encrypted ? 'secureConnect' : 'connect', ready);
}

async function readAnswer(incoming: http.IncomingMessage, bytesMax: number): Promise<Exchange> {
  const status = incoming.statusCode ?? 0;
  const body = await bodyOf(incoming, incoming.headers['content-encoding'], bytesMax);
  const retryAfter = incoming.headers['retry-after'];
  if (typeof body === 'string') return { kind: 'cut', status, why: body, retryAfter };
  return { kind: 'answered', status, text: body.toString('utf8'), retryAfter };
}

function reasonOf(error: Error, signal: AbortSignal): NotSentWhy {
  if (error instanceof ForbiddenAddress) return 'forbidden_address';
  return signal.aborted ? 'aborted' : 'connect';
}

/** Where a request goes, as the guard of addresses judges it. */
export function targetOf(url: URL, agentChosen: boolean): Target {
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  return { hostname: url.hostname, port, agentChosen };
}
