// The list of B9 without a framework: node:http, the bare driver, one prepared statement. Told what to do over the channel,
// because a database URL carries a password.
import { createServer } from 'node:http';
import pg from 'pg';

process.once('message', ({ url, text, values }) => {
  const pool = new pg.Pool({ connectionString: url, max: 4 });
  const list = async () => {
    const { rows } = await pool.query({ name: 'b9', text, values });
    return { data: { runs: { nodes: rows.slice(0, -1), endCursor: rows.at(-2)?.id ?? null } } };
  };
  const server = createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      JSON.parse(Buffer.concat(chunks).toString());
      list().then(
        (answer) => {
          const body = Buffer.from(JSON.stringify(answer));
          response
            .writeHead(200, { 'content-type': 'application/json', 'content-length': body.length })
            .end(body);
        },
        (error) => response.writeHead(500).end(String(error)),
      );
    });
  });
  server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));
});
