import { PURPOSES } from '@bulkhead/runtime/keys';
import { tenantId } from '@bulkhead/contract';
import { putTool } from '@bulkhead/tool-gateway/admin';
import { storeSecret } from '@bulkhead/secret-broker/admin';
import { FORMS, PLACES, startEchoServer, TRANSPORTS } from '../support/echo-server.js';
import { openLine } from '../support/line.js';
import type { LineUnderTest } from '../support/line.js';
import { zeroOf } from './proof.js';
import type { Proof, ProofSize } from './proof.js';

const SECRET = 'canary/7Q+k="x9\\Zt&42<q>';
const CALLS: Record<ProofSize, number> = { tiny: 40, ci: 400, full: 10_000 };

/**
 * A tool echoes its credential in every place, form and transport, through the whole line. Looked for afterwards, in
 * every form: in what the workflow gets (and so in history, memory and what a model is told), in every column of every
 * row that the tenant's tables hold, and in the sealed results, opened.
 */
export const run: Proof = async ({ size, progress }) => {
  const line = await openLine();
  const echo = await startEchoServer();
  const faults: string[] = [];
  try {
    await declare(line, echo.host, echo.url);
    const host = await line.newHost();
    const envelope = await line.newRun('acme');
    const cases = combinations();
    const step = Math.max(1, cases.length / CALLS[size]);
    let tried = 0;
    for (let at = 0; at < cases.length; at += step) {
      const id = cases[Math.floor(at)] ?? '';
      const answer = await host.call(envelope, 'echo.say', { id });
      const leak = formOf(JSON.stringify(answer));
      if (leak !== undefined) faults.push(`${id}: answered in form ${leak}`);
      if (formOf(echo.said.at(-1) ?? '') === undefined && !/:(status)/.test(`:${id}`)) {
        throw new Error(`${id}: the scan does not see what the tool said`);
      }
      tried += 1;
    }
    progress(`${tried} echoes of ${cases.length} combinations`);
    for (const [table, text] of await everything(line)) {
      const leak = formOf(text);
      if (leak !== undefined) faults.push(`table ${table}: form ${leak}`);
    }
    return zeroOf('echoes that got through', tried, faults);
  } finally {
    await echo.close();
    await line.close();
  }
};

/** `place:form:transport:pieces`, shuffled by a fixed stride so that a part of them is a cross-section. */
function combinations(): string[] {
  const all = PLACES.flatMap((place) =>
    Object.keys(FORMS).flatMap((form) =>
      Object.keys(TRANSPORTS).flatMap((transport) =>
        ['whole', 'pieces'].map((pieces) => [place, form, transport, pieces].join(':')),
      ),
    ),
  );
  return all.map((_, index) => all[(index * 7919) % all.length] ?? '');
}

/** Which form of the secret stands in a text, also when the text is JSON. */
function formOf(text: string): string | undefined {
  const found = Object.entries(FORMS).find(([, encode]) => {
    const form = encode(SECRET);
    const core = encode === FORMS['basic'] || encode === FORMS['base64url'] ? form.slice(8, -4) : form;
    const written = JSON.stringify(core).slice(1, -1);
    return [core, written, JSON.stringify(written).slice(1, -1), encodeURI(core)].some((it) =>
      text.includes(it),
    );
  });
  return found?.[0];
}

async function declare(line: LineUnderTest, boundHost: string, url: string): Promise<void> {
  const db = line.db('acme');
  await line.database.asOwner('INSERT INTO quotas VALUES ($1, $2, 1000000)', ['acme', 'tool_calls_per_day']);
  await storeSecret(db, line.keyRing, { name: 'echo', access: 'mutate', boundHost, value: SECRET });
  await putTool(db, 'echo.say', {
    adapter: 'http',
    description: 'x',
    inputSchema: {
      type: 'object',
      properties: { id: { type: 'string' } },
      required: ['id'],
      additionalProperties: false,
    },
    method: 'GET',
    url: `${url}/say/{id}`,
    effect: 'read',
    idempotency: 'natural',
    credential: { secret: 'echo', slot: { header: 'authorization', prefix: 'Bearer ' } },
  });
}

/** Every row of every table as text, and the sealed results and requests in clear. */
async function everything(line: LineUnderTest): Promise<[string, string][]> {
  const tables = await line.database.asOwner<{ name: string }>(
    "SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind = 'r'",
  );
  const texts: [string, string][] = [];
  for (const { name } of tables) {
    const rows = await line.database.asOwner<{ row: string }>(
      `SELECT to_jsonb(t)::text AS row FROM "${name}" t`,
    );
    texts.push([name, rows.map(({ row }) => row).join('\n')]);
  }
  const effects = await line.db('acme').run((tx) => tx.effect.findMany());
  for (const { result, request } of effects) {
    for (const [sealed, purpose] of [
      [result, PURPOSES.effectResult],
      [request, PURPOSES.effectRequest],
    ] as const) {
      if (!sealed) continue;
      const opened = await line.keyRing.open(tenantId('acme'), purpose, Buffer.from(sealed));
      texts.push([`effects, ${purpose}`, opened.toString('utf8')]);
    }
  }
  if (effects.length === 0) throw new Error('no effect was stored');
  return texts;
}
