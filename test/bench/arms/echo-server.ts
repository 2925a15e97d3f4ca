import { createServer } from 'node:http';

/** The tool of both arms: answers each request with 8 KiB of JSON at once. A process of its own. */
const ANSWER = JSON.stringify({ id: 'T-1', text: 'x'.repeat(8 * 1024 - 24) });

const server = createServer((request, response) => {
  request.resume();
  request.on('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end(ANSWER));
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => process.send?.({ type: 'ready', address: server.address() }));
process.on('disconnect', () => process.exit(0));
