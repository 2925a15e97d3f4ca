import { ACME, GLOBEX, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';
import { QUERY_ATTACKS } from '../support/query-attacks.js';
import type { QueryAttack } from '../support/query-attacks.js';
import { codesOf, rawHttp } from '../support/raw-http.js';
import type { Proof, ProofSize } from './proof.js';

const REPEATS: Record<ProofSize, number> = { tiny: 1, ci: 15, full: 301 };
const GOAL_MS = 20;
/** Requests of a bystander per round, with attacks and without. */
const BYSTANDS: Record<ProofSize, number> = { tiny: 0, ci: 200, full: 4_000 };

/**
 * Each attack is refused with its code, before any resolver runs (no tenant transaction is opened), and fast: the figure
 * is the worst of the attacks' medians, in processor time of server and client together, because on a shared machine the
 * time on the wall is the machine's. What another tenant sees meanwhile is told as progress: a ratio of two short rounds
 * is no verdict.
 */
export const run: Proof = async ({ size, progress }) => {
  const api = await startApi();
  const http = rawHttp(api.url);
  try {
    const key = await api.key(GLOBEX, 'admin');
    const opened = countTransactions(api);
    const faults: string[] = [];
    const medians: number[] = [];
    for (const attack of QUERY_ATTACKS) {
      const times: number[] = [];
      const body = Buffer.from(attack.body); // making it takes longer than refusing it
      for (let i = 0; i < REPEATS[size]; i += 1) {
        const before = process.cpuUsage();
        const { problem } = await attackOnce(http, key, attack, body);
        const { user, system } = process.cpuUsage(before);
        const ms = (user + system) / 1_000;
        times.push(ms);
        if (problem !== undefined) faults.push(`${attack.name}: ${problem}`);
      }
      const median = times.toSorted((a, b) => a - b)[times.length >> 1] ?? Infinity;
      medians.push(median);
      // the first request of a kind compiles what it needs, and is all that the tiny size has
      if (size !== 'tiny' && median > GOAL_MS) faults.push(`${attack.name}: ${median.toFixed(1)} ms`);
      progress(`${attack.name}: ${median.toFixed(1)} ms`);
    }
    if (opened() > 0) faults.push(`${opened()} transactions were opened`);
    if (BYSTANDS[size] > 0) progress(await bystander(api, http, key, BYSTANDS[size]));
    return {
      pass: faults.length === 0,
      figure: round(Math.max(...medians)),
      goal: `<= ${GOAL_MS}, refused before resolvers`,
      unit: 'ms of processor time',
      n: QUERY_ATTACKS.length * REPEATS[size],
      min: round(Math.min(...medians)),
      max: round(Math.max(...medians)),
      faults: faults.slice(0, 10),
    };
  } finally {
    http.close();
    await api.close();
  }
};

const round = (value: number): number => Math.round(value * 10) / 10;
const headersOf = (key: string): Record<string, string> => ({
  'content-type': 'application/json',
  authorization: `Bearer ${key}`,
});

async function attackOnce(
  http: ReturnType<typeof rawHttp>,
  key: string,
  { code, status = 200, chunked = false }: QueryAttack,
  body: Buffer,
): Promise<{ problem: string | undefined }> {
  const answer = await http.send({ headers: headersOf(key), body, chunked });
  const codes = codesOf(answer.text) ?? [];
  const refused = answer.status === status && codes.length > 0 && codes.every((found) => found === code);
  const hasData = answer.text.includes('"data":{');
  return {
    problem: refused && !hasData ? undefined : `${answer.status} ${answer.text.slice(0, 200)}`,
  };
}

/** Resolvers reach a tenant's data through the tenant door only. */
function countTransactions({ deps }: TestApi): () => number {
  let count = 0;
  const { tenant } = deps.door;
  Reflect.set(deps.door, 'tenant', (...given: Parameters<typeof tenant>) => {
    count += 1;
    return tenant.apply(deps.door, given);
  });
  return () => count;
}

/** p99 of another tenant's reads while one tenant sends 50 attacks a second, over their p99 alone. */
async function bystander(
  api: TestApi,
  http: ReturnType<typeof rawHttp>,
  attacker: string,
  requests: number,
): Promise<string> {
  const key = await api.key(ACME, 'viewer');
  const p99 = async (): Promise<number> => {
    const times: number[] = [];
    for (let i = 0; i < requests; i += 1)
      times.push((await http.send({ headers: headersOf(key), body: '{"query":"{ me { role } }"}' })).ms);
    return times.toSorted((a, b) => a - b)[Math.floor(requests * 0.99)] ?? 0;
  };
  await p99();
  const alone = await p99();
  const attacks = QUERY_ATTACKS.filter(({ body }) => body.length < 1_000_000);
  let next = 0;
  const timer = setInterval(() => {
    const attack = attacks[(next += 1) % attacks.length];
    if (attack) attackOnce(http, attacker, attack, Buffer.from(attack.body)).catch(() => undefined); // counted above, here it is only noise
  }, 20);
  const attacked = await p99();
  clearInterval(timer);
  return `another tenant's p99: ${alone.toFixed(1)} ms alone, ${attacked.toFixed(1)} ms under 50 attacks/s`;
}
