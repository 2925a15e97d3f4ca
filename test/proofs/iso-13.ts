import { ACME, GLOBEX, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';
import { decode, sealedFor, sessionCookie } from '../support/codec.js';
import type { WirePayload } from '../support/codec.js';
import { seededRandom } from '../support/random.js';
import { zeroOf } from './proof.js';
import type { Proof, ProofSize } from './proof.js';

const ATTEMPTS: Record<ProofSize, number> = { tiny: 100, ci: 5_000, full: 50_000 };
const AT_ONCE = 20;
const OWN = 'tnt-globex';
const CANARY = 'canary-of-acme';

/** B's proofs, pages and namespaces, and what is done to A's ciphertext; a request takes one of each. */
interface Attacker {
  readonly proofs: readonly Record<string, string>[];
  /** Proofs with which a request comes as far as the payloads, and is recorded. */
  readonly genuine: readonly Record<string, string>[];
}
const ORIGINS = [undefined, 'http://bulkhead.test', 'http://evil.test', 'null', 'http://acme.bulkhead.test'];
const NAMESPACES = [undefined, OWN, 'tnt-acme', 'tnt-nobody', `${OWN},tnt-acme`, 'TNT-ACME', 'default'];

/**
 * Every mix of B's (or nobody's) proof, page and namespace with A's ciphertext, as it is, dressed up as B's, or with bits
 * flipped, on the listening API. Nothing of A is told in the answer, and what came as far as the payloads is in the
 * journal, one record each; between the attacks, A opens the same ciphertext, so it could have been told.
 */
export const run: Proof = async ({ size, progress }) => {
  const api = await startApi({ decodesPerMinute: 1_000_000 });
  const random = seededRandom();
  const faults: string[] = [];
  let recorded = 0;
  try {
    const attacker = await attackerOf(api);
    const victim = await sealedFor(api, ACME, { note: CANARY });
    const own = await sealedFor(api, GLOBEX, 'x');
    await mustOpen(api, victim);
    for (let tried = 0; tried < ATTEMPTS[size]; tried += AT_ONCE) {
      const round = Array.from({ length: AT_ONCE }, async () => {
        const headers = headersOf(attacker, random.below);
        const answer = await decode(api, headers, [disguise(victim, own, random.below)]);
        if (answer.status === 200) faults.push(`decoded with ${JSON.stringify(headers)}`);
        if (tellsOf(answer.text)) faults.push(`A's text in ${answer.text.slice(0, 200)}`);
        if (cameIn(attacker, headers)) recorded += 1;
      });
      await Promise.all(round);
      if (tried % 1_000 === 0) progress(`${tried} of ${ATTEMPTS[size]}`);
    }
    await mustOpen(api, victim);
    faults.push(...(await recordsMissed(api, recorded)));
    return zeroOf('payloads decoded, or requests without their record', ATTEMPTS[size], faults);
  } finally {
    await api.close();
  }
};

async function attackerOf(api: TestApi): Promise<Attacker> {
  const key = await api.key(GLOBEX, 'admin');
  const bearer = { authorization: `Bearer ${key}` };
  const cookie = { cookie: await sessionCookie(api, key) };
  const worthless = [
    {},
    { authorization: 'Bearer ' },
    { authorization: `Bearer ${key.slice(0, -1)}` },
    { cookie: 'bulkhead_session=x' },
    { authorization: `Bearer ${await api.key(GLOBEX, 'viewer')}` },
  ];
  return { proofs: [...worthless, bearer, cookie], genuine: [bearer, cookie] };
}

type Below = (bound: number) => number;
const oneOf = <T>(list: readonly T[], below: Below): T => list[below(list.length)] as T;

function headersOf({ proofs }: Attacker, below: Below): Record<string, string> {
  const origin = oneOf(ORIGINS, below);
  const namespace = oneOf(NAMESPACES, below);
  return {
    ...oneOf(proofs, below),
    ...(origin === undefined ? {} : { origin }),
    ...(namespace === undefined ? {} : { 'x-namespace': namespace }),
  };
}

/** By the rules of the door: who is known, from an own page or none, for the own namespace. */
function cameIn({ genuine }: Attacker, headers: Record<string, string>): boolean {
  const [bearer, cookie] = genuine;
  const known =
    headers['authorization'] === bearer?.['authorization'] ||
    (headers['cookie'] === cookie?.['cookie'] && headers['origin'] !== undefined);
  return known && headers['x-namespace'] === OWN && [undefined, ORIGINS[1]].includes(headers['origin']);
}

function disguise(victim: WirePayload, own: WirePayload, below: Below): WirePayload {
  const flipped = Buffer.from(victim.data, 'base64');
  flipped[below(flipped.length)]! ^= 1 << below(8);
  const metadata = oneOf(
    [
      victim.metadata,
      own.metadata,
      { ...victim.metadata, tenant: own.metadata['tenant'] ?? '' },
      { ...victim.metadata, 'key-id': own.metadata['key-id'] ?? '' },
      { ...own.metadata, 'key-id': victim.metadata['key-id'] ?? '' },
    ],
    below,
  );
  return { metadata, data: below(2) === 0 ? victim.data : flipped.toString('base64') };
}

/** Also in base64, in which an answer would carry it. */
const tellsOf = (text: string): boolean =>
  [CANARY, ...[0, 1, 2].map((shift) => btoa(`${'x'.repeat(shift)}${CANARY}`).slice(4, -4))].some((form) =>
    text.includes(form),
  );

async function mustOpen(api: TestApi, payload: WirePayload): Promise<void> {
  const headers = { authorization: `Bearer ${await api.key(ACME, 'admin')}`, 'x-namespace': 'tnt-acme' };
  const { status, text } = await decode(api, headers, [payload]);
  if (status !== 200 || !tellsOf(text)) throw new Error(`A cannot open its own payload: ${status} ${text}`);
}

async function recordsMissed(api: TestApi, expected: number): Promise<string[]> {
  const rows = await api.database.asOwner<{ tenant: string; refused: string | null; count: number }>(
    `SELECT tenant_id AS tenant, body->>'refused' AS refused, count(*)::int AS count FROM journal_records
      WHERE body->>'change' = 'payloads_decoded' GROUP BY 1, 2 ORDER BY 1`,
  );
  const found = JSON.stringify(rows);
  const wanted = JSON.stringify([
    { tenant: 'acme', refused: null, count: 2 },
    ...(expected === 0 ? [] : [{ tenant: 'globex', refused: 'PAYLOAD_REFUSED', count: expected }]),
  ]);
  return found === wanted ? [] : [`the journal has ${found}, not ${wanted}`];
}
