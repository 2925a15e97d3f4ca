import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { openLine } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';

/** What names an attempt's hold on an entry. */
interface Held {
  readonly key: string;
  readonly host: string;
  readonly token: string;
}

let line: LineUnderTest;
beforeAll(async () => {
  line = await openLine();
});
afterAll(() => line.close());

/** An effect whose request is under way, as its row says. */
async function open(host: Host): Promise<Held> {
  const envelope = await line.newRun('acme');
  line.tool.answer = () => 'hang';
  // it ends when the tool's timeout does; what comes of it then is not asked here
  host.call(envelope, 'desk.update', { id: 'a' }).catch(() => undefined);
  return vi.waitUntil(() => heldOf(envelope.runId), { timeout: 5_000 });
}

async function heldOf(runId: string): Promise<Held | undefined> {
  const [row] = await line.database.asOwner<Held>(
    'SELECT key, holder_host AS host, holder_token AS token FROM effects WHERE run_id = $1',
    [runId],
  );
  return row;
}

const answered = (held: Held): Promise<unknown> =>
  line
    .db('acme')
    .call('settle', { ...held, ending: 'answered', outcome: 'ok' }, Buffer.from('AAAA', 'base64'));
const stateOf = async (key: string): Promise<string | undefined> =>
  (await line.database.asOwner<{ state: string }>('SELECT state FROM effects WHERE key = $1', [key]))[0]
    ?.state;

it('an answer of another attempt, on this host or on another, closes nothing', async () => {
  const held = await open(await line.newHost());
  const { id } = await line.newHost();
  expect(await answered({ ...held, token: 'another' })).toEqual({ kind: 'not_holder' });
  expect(await answered({ ...held, host: id })).toEqual({ kind: 'not_holder' });
  expect(await stateOf(held.key)).toBe('open');
  expect(await answered(held)).toEqual({ kind: 'settled', state: 'closed' });
});

it('the answer of a fenced host closes nothing, although nobody has taken its entry yet', async () => {
  const host = await line.newHost();
  const held = await open(host);
  await line.fence(host);
  expect(await answered(held)).toEqual({ kind: 'not_holder' });
  expect(await stateOf(held.key)).toBe('open');
});

it('an answer that is told twice is kept once: the first result stands', async () => {
  const held = await open(await line.newHost());
  expect(await answered(held)).toEqual({ kind: 'settled', state: 'closed' });
  const again = { ...held, ending: 'answered', outcome: 'tool_failed' };
  const told = await line.db('acme').call('settle', again, Buffer.from('BBBB', 'base64'));
  expect(told).toEqual({ kind: 'settled', state: 'closed' });
  const kept = await line.database.asOwner(
    `SELECT e.outcome, encode(e.result, 'base64') AS result, count(j.*)::int AS closes
       FROM effects e JOIN journal_records j ON j.key = e.key AND j.kind = 'close' WHERE e.key = $1 GROUP BY 1, 2`,
    [held.key],
  );
  expect(kept).toEqual([{ outcome: 'ok', result: 'AAAA', closes: 1 }]);
});
