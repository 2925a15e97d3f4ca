import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inject } from 'vitest';
import type { Proof, ProofSize } from '../proofs/proof.js';
import { GLOBEX, startApi } from '../support/api.js';
import { startMain } from '../support/processes.js';
import type { RunningMain } from '../support/processes.js';
import { medianOfRatios } from './rounds.js';

const ROUNDS: Record<ProofSize, number> = { tiny: 1, ci: 7, full: 15 };
const REQUESTS: Record<ProofSize, number> = { tiny: 200, ci: 2_000, full: 10_000 };
const CALLERS = 4;
const QUERY = '{ runs(first: 20) { nodes { id agentId state createdAt actor } endCursor } }';

/** What the bare arm asks: the columns that the query names, one row more than shown for the cursor, as the API does. */
const STATEMENT = `SELECT id, agent_id AS "agentId", state, created_at AS "createdAt", actor
  FROM runs WHERE tenant_id = $1 ORDER BY id DESC LIMIT $2`;

/**
 * CPU time of the API's process (user and system, /proc) per GraphQL list of 20 runs, authentication, tenant and
 * guards included, over that of a bare node:http server that reads the same rows with the bare driver and without row
 * level security. Both are processes of their own with the built code; PostgreSQL's own CPU is in neither.
 */
export const run: Proof = async ({ size, progress }) => {
  const seeded = await startApi();
  const folder = await mkdtemp(join(tmpdir(), 'b9-'));
  const running: { stop(): Promise<unknown> }[] = [];
  try {
    const key = await seeded.key(GLOBEX, 'viewer');
    await seeded.database.asOwner(
      `INSERT INTO runs (tenant_id, id, workspace_id, agent_id, workflow_type, idempotency_key, input_digest, input, envelope, actor)
       SELECT 'globex', 'globex.run.01kb3v6r2e8m4q7x9z0a1b' || lpad(r::text, 4, '0'), 'main', 'support-triage', 'w', 'k' || r, '\\x00', '{}', 'e', 'key:x'
         FROM generate_series(1, 40) r`,
    );
    const api = await startApiProcess(folder, seeded.database);
    running.push(api);
    const bare = await startBare(seeded.database.ownerUrl);
    running.push(bare);
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
    const cpuOf = (server: Server, path: string) => async (): Promise<number> => {
      const before = await cpuMs(server);
      await ask(server.port, path, headers, REQUESTS[size]);
      return ((await cpuMs(server)) - before) / REQUESTS[size];
    };
    return await medianOfRatios({
      goal: 2.5,
      rounds: ROUNDS[size],
      subject: cpuOf(api, '/graphql'),
      baseline: cpuOf(bare, '/'),
      progress: (subject, baseline) =>
        progress(`API ${subject.toFixed(3)} ms CPU, bare ${baseline.toFixed(3)} ms CPU per request`),
    });
  } finally {
    await Promise.all(running.map((process) => process.stop()));
    await seeded.close();
    await rm(folder, { recursive: true });
  }
};

interface Server {
  readonly pid: number;
  readonly port: number;
}

async function startApiProcess(
  folder: string,
  database: { appUrl: string; controlUrl: string },
): Promise<RunningMain> {
  const { keys } = inject('servers');
  return startMain('api', folder, {
    role: 'api',
    database: { url: database.appUrl, controlUrl: database.controlUrl, poolMax: 16 },
    temporal: { address: '127.0.0.1:1', enforcesTokens: true, tokensDir: folder },
    keys: { master: keys.master, envelopeSigning: keys.envelopeSigning },
    api: { host: '127.0.0.1', port: 0, graphiql: false, publicUrl: 'http://bulkhead.test' },
    log: { level: 'warn' },
  });
}

async function startBare(url: string): Promise<Server & { stop(): Promise<void> }> {
  const child = fork(fileURLToPath(new URL('arms/bare-list.mjs', import.meta.url)), { execArgv: [] });
  const ended = once(child, 'exit');
  child.send({ url, text: STATEMENT, values: [GLOBEX, 21] });
  const [message] = (await once(child, 'message')) as [{ port: number }];
  return {
    pid: child.pid ?? 0,
    port: message.port,
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

/** User and system time of a process so far; the kernel counts in ticks of 10 ms. */
async function cpuMs({ pid }: Server): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

async function ask(
  port: number,
  path: string,
  headers: Record<string, string>,
  count: number,
): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: CALLERS });
  const body = JSON.stringify({ query: QUERY });
  let left = count;
  const caller = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const sent = request({ host: '127.0.0.1', port, path, method: 'POST', headers, agent });
      sent.end(body);
      const [answer] = (await once(sent, 'response')) as [NodeJS.ReadableStream & { statusCode: number }];
      let text = '';
      for await (const chunk of answer) text += String(chunk);
      if (answer.statusCode !== 200 || !text.includes('endCursor')) throw new Error(text.slice(0, 200));
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  agent.destroy();
}
