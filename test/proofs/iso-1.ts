import { ACME, firstEvent, GLOBEX, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';
import {
  CANARY,
  crossTenantMatrix,
  furnishVictim,
  randomUlid,
  victimState,
} from '../support/cross-tenant.js';
import type { Matrix, VictimIds } from '../support/cross-tenant.js';
import { withSlot } from '../support/schema-walk.js';
import type { RootField } from '../support/schema-walk.js';
import { secondsOf, zeroOf } from './proof.js';
import type { Proof, ProofSize } from './proof.js';

const ATTEMPTS: Record<ProofSize, number> = { tiny: 150, ci: 10_000, full: 40_000 };
const ROLES = ['admin', 'operator', 'viewer'] as const;

/** One request with one of the victim's ids, or a random or malformed one, in one slot. */
interface Attempt {
  readonly root: RootField;
  readonly what: string;
  readonly variables: Record<string, unknown>;
}

/**
 * Every query, mutation and subscription of schema.gql, each id-typed argument and input field with another tenant's
 * ids, random and malformed ones, every selectable field asked for. No text of the victim comes back and no row of it
 * changes. A slot of the schema without a case fails.
 */
export const run: Proof = async ({ size, progress }) => {
  const matrix = await crossTenantMatrix();
  const faults = matrix.uncovered.map((slot) => `${slot.name} has no case in test/support/cross-tenant.ts`);
  const api = await startApi();
  let tried = 0;
  try {
    const ids = await furnishVictim(api);
    await detectorWorks(api, matrix, faults);
    const before = await victimState(api);
    const attempts = attemptsOf(matrix, ids);
    const until = performance.now() + secondsOf(size) * 1_000;
    const keys = await Promise.all(ROLES.map((role) => api.key(GLOBEX, role)));
    let round = 0;
    while (tried < ATTEMPTS[size] && performance.now() < until) {
      const key = keys[round % keys.length] ?? '';
      round += 1;
      for (let at = 0; at < attempts.length && tried < ATTEMPTS[size]; at += 8) {
        const batch = attempts.slice(at, at + 8);
        const leaks = await Promise.all(batch.map((attempt) => tryOne(api, key, attempt)));
        faults.push(...leaks.flatMap((leak) => leak ?? []));
        tried += batch.length;
      }
      progress(`${tried} attempts over ${matrix.fields.length} root fields`);
      await stillIn(api, key, faults);
    }
    if ((await victimState(api)) !== before) faults.push("the victim's rows changed");
    return zeroOf('leaks, changes or uncovered slots', tried, faults);
  } finally {
    await api.close();
  }
};

function attemptsOf(matrix: Matrix, ids: VictimIds): Attempt[] {
  return matrix.fields.flatMap((root) => {
    const plain = { root, what: 'without foreign ids', variables: root.variables() };
    const inSlots = root.slots.filter(matrix.attacked).flatMap((slot) =>
      valuesFor(ids).map(([what, value]) => ({
        root,
        what: `${what} in ${slot.name}`,
        variables: withSlot(root.variables(), slot.path, value),
      })),
    );
    return [plain, ...inSlots];
  });
}

/** Each of the victim's ids in each slot, whatever kind the slot takes; then the same shapes with nothing behind. */
function valuesFor(ids: VictimIds): [string, unknown][] {
  const ulid = randomUlid();
  return [
    ...Object.entries(ids),
    ['an unknown run', `acme.run.${ulid}`],
    ['an own unknown run', `globex.run.${ulid}`],
    ['a run renamed', ids.run.replace(ACME, GLOBEX)],
    ['upper case', ids.run.toUpperCase()],
    ['a suffix', `${ids.run}/0.0`],
    ['a blank', ` ${ids.run}`],
    ['a NUL', `${ids.run}\u0000`],
    ['SQL', `' OR tenant_id = 'acme' --`],
    ['a pattern', '%'],
    ['empty', ''],
    ['long', 'a'.repeat(2_000)],
    ['a number', 7],
    ['null', null],
  ];
}

async function tryOne(
  api: TestApi,
  key: string,
  { root, what, variables }: Attempt,
): Promise<string | undefined> {
  const answer = await (root.kind === 'subscription'
    ? told(api, key, root.document, variables)
    : api.ask(key, root.document, variables));
  // a stream that says nothing within its time is silence
  const text = JSON.stringify(answer ?? null);
  // what the attacker sent may be quoted back; everything else of the victim is marked
  const sent = new Set(
    [CANARY, `${CANARY}-agent`].filter((mark) => JSON.stringify(variables).includes(mark)),
  );
  if (text.includes(CANARY) && sent.size === 0) return `${root.full}, ${what}: ${text.slice(0, 200)}`;
  if (text.includes(`"name":"${CANARY}`) || text.includes(`"note":"${CANARY}`)) {
    return `${root.full}, ${what}: ${text.slice(0, 200)}`;
  }
  return undefined;
}

async function told(
  api: TestApi,
  key: string,
  document: string,
  variables: Record<string, unknown>,
): Promise<unknown> {
  try {
    return await firstEvent(api.subscribe(key, document, variables));
  } catch (error) {
    return error instanceof Error ? error.message : error;
  }
}

/** The victim itself is shown its marked texts; if it is not, their absence elsewhere would mean nothing. */
async function detectorWorks(api: TestApi, matrix: Matrix, faults: string[]): Promise<void> {
  const own = await api.key(ACME, 'admin');
  for (const full of [
    'Query.runs',
    'Query.approvals',
    'Query.agents',
    'Query.tools',
    'Query.tenants',
    'Query.members',
    'Query.invitations',
    'Query.apiKeys',
    'Query.workspaces',
  ]) {
    const root = matrix.fields.find((candidate) => candidate.full === full);
    const answer =
      root && (await api.ask(own, root.document, { ...root.variables(), state: null, after: null }));
    if (!JSON.stringify(answer ?? '').includes(CANARY))
      faults.push(`${full} does not show the victim its own text`);
  }
}

/** A proof that was locked out proves nothing: the attacker's own key must still open its own tenant. */
async function stillIn(api: TestApi, key: string, faults: string[]): Promise<void> {
  const { data } = await api.ask(key, '{ me { tenant { id } } }');
  if (JSON.stringify(data) !== '{"me":{"tenant":{"id":"globex"}}}')
    faults.push("the attacker's own key stopped working");
}
