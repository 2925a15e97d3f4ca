import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { CloseCode, handleProtocols, makeServer } from 'graphql-ws';
import type { GraphQLFormattedError } from 'graphql';
import type { ServerOptions } from 'graphql-ws';
import { WebSocketServer } from 'ws';
import type { WebSocket } from 'ws';
import { BulkheadError } from '@bulkhead/contract';
import { credentialsOfConnection } from '../auth/credentials.js';
import { publicErrors } from './errors.js';
import type { SocketDoor } from './door.js';
import { OpenCounts } from './open-counts.js';
import { SocketSession } from './socket-session.js';
import { openSubscription, prepareSubscription } from './subscription-request.js';
import { parseStrictJson } from './strict-json.js';
import { isOwnOrigin, refuseUpgrade, Strangers } from './upgrade.js';

/** Bytes of a message at most: a document and an id. */
const MESSAGE_BYTES_MAX = 64 * 1024;
/** Milliseconds until a connection must have said whose it is. */
const INIT_MS = 3_000;
/** Milliseconds between pings; a connection that missed one is gone. */
const PING_MS = 20_000;
/** Milliseconds that peers have to answer a goodbye when the process ends. */
const GOODBYE_MS = 500;

/** What graphql-ws carries from one of its callbacks to the next. */
interface Extra {
  readonly session: SocketSession;
}

/** /graphql over websockets, for subscriptions only. Returns the function that closes every connection. */
export function openSocketDoor(server: Server, door: SocketDoor): () => Promise<void> {
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MESSAGE_BYTES_MAX,
    perMessageDeflate: false,
    handleProtocols: (protocols) => handleProtocols(protocols),
  });
  const strangers = new Strangers();
  const protocol = protocolOf(door);

  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    // before the handshake nobody else listens, and an error without a listener ends the process
    socket.on('error', () => socket.destroy());
    if (request.url?.split('?')[0] !== '/graphql') return refuseUpgrade(socket, '404 Not Found');
    if (!isOwnOrigin(request.headers.origin, door.settings.publicUrl))
      return refuseUpgrade(socket, '403 Forbidden');
    const leave = strangers.enter(request);
    if (!leave) return refuseUpgrade(socket, '429 Too Many Requests');
    socket.once('close', leave);
    sockets.handleUpgrade(request, socket, head, (opened) => serve(opened, leave, protocol, door));
  });
  const pinging = setInterval(() => ping(sockets), PING_MS).unref();

  return async () => {
    clearInterval(pinging);
    for (const socket of sockets.clients) socket.close(1001);
    if (sockets.clients.size > 0) await sleep(GOODBYE_MS);
    for (const socket of sockets.clients) socket.terminate();
    sockets.close();
  };
}

const missed = new WeakSet<WebSocket>();

function ping(sockets: WebSocketServer): void {
  for (const socket of sockets.clients) {
    if (missed.has(socket)) socket.terminate();
    missed.add(socket);
    socket.ping();
  }
}

type Protocol = ReturnType<typeof makeServer<Record<string, unknown>, Extra>>;

function serve(socket: WebSocket, leave: () => void, protocol: Protocol, { log, ...door }: SocketDoor): void {
  const session = new SocketSession(socket, leave, door);
  socket.on('error', (err) => log.debug({ err }, 'a websocket broke'));
  socket.on('pong', () => missed.delete(socket));
  const closed = protocol.opened(
    {
      protocol: socket.protocol,
      send: (text) => session.send(text),
      close: (code, reason) => session.end(code ?? 1000, reason ?? ''),
      onMessage: (handle) => {
        socket.on('message', (data: Buffer, isBinary: boolean) => {
          if (socket.readyState !== socket.OPEN) return; // it has been told to go
          receive(String(data), isBinary, handle).catch((err: unknown) => {
            log.debug({ err }, 'a websocket message was refused');
            session.end(CloseCode.BadRequest, 'Invalid message received');
          });
        });
      },
    },
    { session },
  );
  socket.once('close', (code, reason) => {
    session.closed();
    closed(code, String(reason)).catch((err: unknown) =>
      log.warn({ err }, 'a subscription did not end cleanly'),
    );
  });
}

async function receive(
  text: string,
  isBinary: boolean,
  handle: (text: string) => Promise<void>,
): Promise<void> {
  if (isBinary) throw new BulkheadError('BAD_INPUT', { field: 'message' });
  parseStrictJson(text, 'message'); // means one thing only; graphql-ws parses it once more
  await handle(text);
}

function protocolOf(door: SocketDoor): Protocol {
  const open = new OpenCounts(door.settings.subscriptions);
  const connections = new OpenCounts(door.settings.subscriptions);
  const releases = new WeakMap<object, () => void>();
  const options: ServerOptions<Record<string, unknown>, Extra> = {
    connectionInitWaitTimeout: INIT_MS,
    onConnect: async ({ connectionParams, extra: { session } }) => {
      // a refusal has closed the connection with its code, and what comes after finds it closed
      await session.begin(credentialsOfConnection(connectionParams), connections);
    },
    onSubscribe: ({ extra: { session } }, _id, payload) => {
      let release = (): void => undefined;
      try {
        const { caller, credentials } = session.owner();
        door.refusals.expectLeft(credentials.authorization);
        release = open.take(caller);
        const args = prepareSubscription(door.schema(), payload, credentials, door.settings);
        releases.set(args, release);
        return args;
      } catch (error) {
        release();
        const errors = publicErrors(error, door.log);
        session.noteRefusal(errors);
        return errors;
      }
    },
    subscribe: (args) => openSubscription(args, releases.get(args) ?? (() => undefined)),
    onNext: (_context, _id, _payload, _args, { data, errors }) => ({
      data: data ?? null,
      ...(errors ? { errors: shown(errors, door.log) } : {}),
    }),
    onError: (_context, _id, _payload, errors) => shown(errors, door.log),
  };
  return makeServer(options);
}

const shown = (errors: readonly unknown[], log: SocketDoor['log']): GraphQLFormattedError[] =>
  errors.flatMap((error) => publicErrors(error, log)).map((error) => error.toJSON());
