import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';

/** gRPC status codes that a front door answers with. */
export const STATUS = { ok: 0, notFound: 5, permissionDenied: 7, internal: 13 } as const;

/**
 * A front door that answers every call with a status and nothing else: a Temporal server whose authorizer is missing or
 * half set up. The status is decided by the token of the call.
 */
export async function startFrontDoor(
  statusOf: (token: string | undefined) => number,
  port = 0,
): Promise<{ readonly address: string; stop(): Promise<void> }> {
  const server = createServer();
  const sessions = new Set<{ destroy(): void }>();
  server.on('session', (session) => sessions.add(session));
  server.on('stream', (stream, headers) => {
    const token = headers.authorization?.replace(/^Bearer /, '');
    stream.on('error', () => undefined); // the caller hung up
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': String(statusOf(token)) }));
    // an empty message: not compressed, no bytes
    stream.end(Buffer.alloc(5));
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
