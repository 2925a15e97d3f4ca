import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { approveOffer, findTool, putTool, setToolEnabled } from '@bulkhead/tool-gateway/admin';
import { storeSecret } from '@bulkhead/secret-broker/admin';
import { CHANGES, LIES, startLyingMcp } from '../support/lying-mcp.js';
import type { Lie, LyingMcp } from '../support/lying-mcp.js';
import { openLine } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';
import { zeroOf } from './proof.js';
import type { Proof, ProofSize } from './proof.js';

const ROUNDS: Record<ProofSize, number> = { tiny: 1, ci: 4, full: 40 };
const SECRET = 'mcp-canary-81hs72';
const ID = 'notes.take';
const BY = { actor: 'key:admin', reason: 'looked at it' };
const TIMEOUT_MS = 1_500;
const ANSWER_BYTES_MAX = 10_000;

/**
 * A server that lies in many ways, through the whole line. After a change of what it offers nothing is called and
 * the tool is off; whatever else it does ends within the tool's time and size, as a failure that is shown, with the
 * credential nowhere but in its slot at its own host.
 */
export const run: Proof = async ({ size, progress }) => {
  const line = await openLine();
  let stolen = 0;
  const thief = createServer((_, response) => {
    stolen += 1;
    response.end('{}');
  });
  await new Promise<void>((resolve) => thief.listen(0, '127.0.0.1', resolve));
  const mcp = await startLyingMcp(`http://127.0.0.1:${(thief.address() as AddressInfo).port}`);
  const faults: string[] = [];
  let tried = 0;
  try {
    await declare(line, mcp);
    const host = await line.newHost();
    await approve(line, host, mcp);
    for (let round = 0; round < ROUNDS[size]; round += 1) {
      for (const lie of LIES) {
        faults.push(...(await attempt(line, mcp, lie)).map((fault) => `${lie}: ${fault}`));
        tried += 1;
      }
      progress(`round ${round + 1}: ${tried} lies`);
    }
    faults.push(...(await aftermath(line, mcp)));
    if (stolen > 0) faults.push(`the place that it redirects to was asked ${stolen} times`);
    return zeroOf('lies that worked', tried, faults);
  } finally {
    thief.closeAllConnections();
    thief.close();
    await mcp.close();
    await line.close();
  }
};

/** Declared by an admin who has not seen what the server offers: nothing is called before it was approved. */
async function declare(line: LineUnderTest, mcp: LyingMcp): Promise<void> {
  const db = line.db('acme');
  await storeSecret(db, line.keyRing, { name: 'mcp', access: 'mutate', boundHost: mcp.host, value: SECRET });
  await putTool(db, ID, {
    adapter: 'mcp',
    description: 'x',
    inputSchema: {
      type: 'object',
      properties: { text: { type: 'string' } },
      required: ['text'],
      additionalProperties: false,
    },
    server: { url: mcp.url },
    tool: 'take',
    effect: 'irreversible',
    idempotency: 'none',
    timeoutMs: TIMEOUT_MS,
    answerBytesMax: ANSWER_BYTES_MAX,
    credential: { secret: 'mcp', slot: { header: 'authorization', prefix: 'Bearer ' } },
  });
}

const ask = async (line: LineUnderTest, host: Host) =>
  host.call(await line.newRun('acme'), ID, { text: 'remember' });

async function approve(line: LineUnderTest, host: Host, mcp: LyingMcp): Promise<void> {
  const db = line.db('acme');
  mcp.lie = undefined;
  const first = await ask(line, host);
  const { enabled, offer } = await findTool(db, ID);
  if (first.kind !== 'denied' || enabled || mcp.calls.length > 0)
    throw new Error('called before it was approved');
  const other = await approveOffer(db, ID, 'f'.repeat(64), BY).catch((error: Error) => error);
  if (!(other instanceof Error)) throw new Error('approved what is not offered');
  await approveOffer(db, ID, (offer as { pin: string }).pin, BY);
  const second = await ask(line, host);
  if (second.kind !== 'ok') throw new Error(`an honest server must be called: ${JSON.stringify(second)}`);
}

async function attempt(line: LineUnderTest, mcp: LyingMcp, lie: Lie): Promise<string[]> {
  const db = line.db('acme');
  const faults: string[] = [];
  // one that remembers neither the tool nor a breaker of the lie before
  const host = await line.newHost();
  mcp.lie = lie;
  const calls = mcp.calls.length;
  const began = performance.now();
  const answer = await ask(line, host);
  const tookMs = performance.now() - began;
  const { enabled, offer } = await findTool(db, ID);
  if (tookMs > TIMEOUT_MS + 5_000) faults.push(`took ${Math.round(tookMs)} ms`);
  if (answer.kind === 'ok' && lie !== 'asks for a token') faults.push('the run got an answer');
  if (JSON.stringify(answer).includes(SECRET)) faults.push('the credential came back');
  // half of it is too much
  if (JSON.stringify(offer ?? null).includes(SECRET.slice(0, 6)))
    faults.push('the credential is in its offer');
  if (JSON.stringify(answer).length > 2 * ANSWER_BYTES_MAX) faults.push('the answer is larger than declared');
  const isChange = CHANGES.includes(lie);
  if (isChange && enabled) faults.push('the tool is still on');
  if (!isChange && !enabled) faults.push('the tool was switched off for nothing');
  if (isChange && mcp.calls.length > calls) faults.push('the tool was called');
  mcp.lie = undefined;
  if (isChange && (await ask(line, host)).kind === 'ok')
    faults.push('the tool could be called before approval');
  // the server is honest again: what was approved is what it offers
  if (isChange) await setToolEnabled(db, ID, true, BY);
  await line.database.asOwner('UPDATE tools SET held_until = NULL');
  return faults;
}

/** What the server heard and was told in all of this, and what became of the tools whose names it took. */
async function aftermath(line: LineUnderTest, mcp: LyingMcp): Promise<string[]> {
  const faults: string[] = [];
  const tools = await line.db('acme').run((tx) => tx.tool.findMany());
  const foreign = tools.filter(
    ({ spec }) => JSON.stringify(spec).includes(mcp.host) && !JSON.stringify(spec).includes('"take"'),
  );
  if (foreign.length > 0) faults.push(`it took the place of ${foreign.map(({ id }) => id).join(', ')}`);
  if (mcp.calls.some((name) => name !== 'take')) faults.push('something else than the tool was called');
  if (mcp.confided.some((said) => said !== '{}')) faults.push(`it was told ${mcp.confided[0]}`);
  for (const { method, headers } of mcp.heard) {
    const { authorization, ...others } = headers;
    if (authorization !== `Bearer ${SECRET}`) faults.push(`${method}: another credential`);
    if (JSON.stringify(others).includes(SECRET) || others.cookie !== undefined)
      faults.push(`${method}: more than the slot`);
    const isLater = method !== 'initialize';
    if (isLater && headers['mcp-protocol-version'] === undefined)
      faults.push(`${method}: no protocol version`);
  }
  if (!mcp.heard.some(({ method }) => method === 'notifications/cancelled'))
    faults.push('no call was cancelled');
  return [...new Set(faults)];
}
