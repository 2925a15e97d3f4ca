import { readFile } from 'node:fs/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { buildSchema } from 'graphql';
import { ACME, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';
import { queryFuzz } from '../support/query-fuzz.js';
import { seededRandom } from '../support/random.js';
import { codesOf, rawHttp } from '../support/raw-http.js';
import type { RawAnswer } from '../support/raw-http.js';
import { secondsOf } from './proof.js';
import type { Proof, ProofSize } from './proof.js';

const BODIES: Record<ProofSize, number> = { tiny: 300, ci: 3_000, full: 100_000 };
/** Before memory is measured: caches of documents are full then. */
const WARM: Record<ProofSize, number> = { tiny: 0, ci: 3_000, full: 20_000 };
const AT_ONCE = 8;
const RSS_GROWTH_MAX = 0.05;

/** What tells about the inside: frames of a stack, places of files, texts of the database. */
const INSIDE =
  /\bat \S+ \(|\.[cm]?[jt]s:\d+|node_modules|\/dist\/|Prisma|ECONN|SELECT |relation "|TypeError|RangeError|undefined \(/;

/**
 * Documents grown from the schema and bytes turned over, sent with a genuine key: nothing is our fault (no 5xx, no
 * INTERNAL), nothing of the inside is shown, the process lives, and its memory does not grow. The figure counts faults;
 * the growth of memory (of server and client, which share the process) is told as progress and judged with it.
 */
export const run: Proof = async ({ size, progress }) => {
  const random = seededRandom();
  const text = await readFile(new URL('../../apps/api/schema.gql', import.meta.url), 'utf8');
  const fuzz = queryFuzz(buildSchema(text), random);
  const api = await startApi();
  const faults: string[] = [];
  try {
    const send = await sender(api);
    const codes = new Map<string, number>();
    const half = Math.max(secondsOf(size), 10) * 500;
    const one = async (): Promise<void> => {
      const body = random.below(2) === 0 ? fuzz.document() : fuzz.mutated();
      const answer = await send(body);
      const fault = faultOf(answer);
      if (fault !== undefined)
        faults.push(`${fault}: ${String(body).slice(0, 300)} => ${answer.text.slice(0, 300)}`);
      const found = new Set(codesOf(answer.text) ?? []);
      if (found.size === 0) found.add('answered');
      for (const code of found) codes.set(code, (codes.get(code) ?? 0) + 1);
    };
    const warmed = await many(WARM[size], one, performance.now() + half);
    const before = rss();
    const deadline = performance.now() + half;
    let sent = 0;
    while (sent < BODIES[size] && performance.now() < deadline) {
      sent += await many(Math.min(10_000, BODIES[size] - sent), one, deadline);
      progress(`${warmed + sent} sent, ${(rss() / 2 ** 20).toFixed(0)} MiB`);
    }
    const growth = rss() / before - 1;
    const n = warmed + sent;
    progress(`seed ${random.seed}; ${[...codes].map(([code, count]) => `${code} ${count}`).join(', ')}`);
    progress(`memory: ${(before / 2 ** 20).toFixed(0)} MiB, growth ${(growth * 100).toFixed(1)} %`);
    if (size !== 'tiny' && growth > RSS_GROWTH_MAX)
      faults.push(`memory grew by ${(growth * 100).toFixed(1)} %`);
    // a generator that never gets through would prove nothing
    if ((codes.get('BAD_USER_INPUT') ?? 0) === n) faults.push('no document was well formed');
    await expectAlive(api);
    return {
      pass: faults.length === 0,
      figure: faults.length,
      goal: '0',
      unit: 'faults',
      n,
      faults: faults.slice(0, 10),
    };
  } finally {
    await api.close();
  }
};

async function sender(api: TestApi): Promise<(body: string | Buffer) => Promise<RawAnswer>> {
  const http = rawHttp(api.url);
  const authorization = `Bearer ${await api.key(ACME, 'admin')}`;
  const headers = { 'content-type': 'application/json', authorization };
  return (body) => http.send({ headers, body });
}

/** Runs `one` that often, some at once, or until the deadline; says how often it was. */
async function many(count: number, one: () => Promise<void>, deadline: number): Promise<number> {
  let begun = 0;
  const lane = async (): Promise<void> => {
    while (begun < count && performance.now() < deadline) {
      begun += 1;
      await one();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  return begun;
}

function faultOf({ status, text }: RawAnswer): string | undefined {
  if (status >= 500) return `status ${status}`;
  const codes = codesOf(text);
  if (!codes) return 'not JSON';
  const ours = codes.find((code) => ['INTERNAL', 'UNAVAILABLE', 'TIMEOUT', 'no code'].includes(code));
  if (ours !== undefined) return ours;
  // what the caller has sent may be quoted; a message has no more than that
  const shown = messagesOf(text);
  return INSIDE.test(shown) ? 'the inside is shown' : undefined;
}

const messagesOf = (text: string): string => {
  const { errors = [] } = JSON.parse(text) as { errors?: { message: string }[] };
  return errors.map(({ message }) => message).join('\n');
};

async function expectAlive(api: TestApi): Promise<void> {
  const { data } = await api.ask(await api.key(ACME, 'viewer'), '{ me { role } }');
  if (!data) throw new Error('the API answers no more');
}

/**
 * Bytes in use after what is garbage was collected and given back. An ordinary collection keeps the pages that it emptied,
 * and over tens of thousands of requests the heap's free pages are touched one after the other: the process seems to
 * grow by 3 MiB per 1,000 requests while what is alive stays the same.
 */
function rss(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (options: object) => void;
  for (let time = 0; time < 2; time += 1)
    collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  return process.memoryUsage.rss();
}
