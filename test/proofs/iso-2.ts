import { GLOBEX, startApi } from '../support/api.js';
import type { Answer, TestApi } from '../support/api.js';
import { crossTenantMatrix, furnishVictim, randomUlid } from '../support/cross-tenant.js';
import type { IdKind, Matrix, VictimIds } from '../support/cross-tenant.js';
import { seededRandom } from '../support/random.js';
import { withSlot } from '../support/schema-walk.js';
import type { RootField, Slot } from '../support/schema-walk.js';
import type { Proof, ProofSize } from './proof.js';

const PAIRS: Record<ProofSize, number> = { tiny: 20, ci: 2_000, full: 10_000 };
const LOW = 0.45;
const HIGH = 0.55;
/** Pairs with the same unknown id. */
const BLOCK = 100;

/** A slot that looks something up by an id of a kind, with the document around it. */
interface Oracle {
  readonly root: RootField;
  readonly slot: Slot;
  readonly kind: IdKind;
}

/**
 * Is an id of another tenant told from one that does not exist? Same status, same body (but for the id under which the
 * log knows the request), and response times from which no better than a coin can be guessed which of the two it was:
 * AUC = the chance that a foreign id took longer than a random one, ties half. 0.5 tells nothing.
 */
export const run: Proof = async ({ size, progress }) => {
  const matrix = await crossTenantMatrix();
  const api = await startApi();
  const faults: string[] = [];
  const aucs: number[] = [];
  let pairs = 0;
  try {
    const ids = await furnishVictim(api);
    const key = await api.key(GLOBEX, 'admin');
    for (const oracle of oraclesOf(matrix)) {
      faults.push(...(await bodiesDiffer(api, key, oracle, ids)));
      const timed = ['Query.run', 'Mutation.approve'].includes(oracle.root.full);
      if (!timed) continue;
      const auc = await timingAuc(api, key, oracle, ids, PAIRS[size]);
      pairs += PAIRS[size];
      aucs.push(auc);
      progress(`${oracle.slot.name}: AUC ${auc.toFixed(3)}`);
    }
    const worst = aucs.toSorted((a, b) => Math.abs(b - 0.5) - Math.abs(a - 0.5))[0] ?? 1;
    // a few pairs say nothing about time; the tiny size looks at the bodies only
    const inTime = size === 'tiny' || (worst >= LOW && worst <= HIGH);
    return {
      pass: faults.length === 0 && inTime,
      figure: round(worst),
      goal: `${LOW}..${HIGH}, equal bodies`,
      unit: 'AUC',
      n: pairs,
      min: round(Math.min(...aucs)),
      max: round(Math.max(...aucs)),
      faults,
    };
  } finally {
    await api.close();
  }
};

const round = (value: number): number => Math.round(value * 1_000) / 1_000;

function oraclesOf(matrix: Matrix): Oracle[] {
  return matrix.fields
    .filter(({ kind }) => kind !== 'subscription')
    .flatMap((root) =>
      root.slots
        .map((slot) => ({ root, slot, kind: matrix.kindOf(slot) }))
        .filter(({ kind }) => kind !== 'free'),
    );
}

/** An id of the same shape with nothing behind it. */
function unknownLike(id: string, kind: IdKind): string {
  const ulid = randomUlid();
  if (kind === 'run' || kind === 'approval' || kind === 'invitation')
    return `${id.slice(0, id.lastIndexOf('.'))}.${ulid}`;
  if (kind === 'tool') return `${id.slice(0, id.lastIndexOf('.'))}.x${ulid}`;
  return `${id.slice(0, 3)}${ulid}`.slice(0, id.length).padEnd(id.length, 'x');
}

async function bodiesDiffer(api: TestApi, key: string, oracle: Oracle, ids: VictimIds): Promise<string[]> {
  const foreign = ids[oracle.kind];
  const unknown = unknownLike(foreign, oracle.kind);
  const [one, two] = [await askFor(api, key, oracle, foreign), await askFor(api, key, oracle, unknown)];
  const [first, second] = [publicPart(one, foreign), publicPart(two, unknown)];
  return first === second ? [] : [`${oracle.slot.name}: ${first} is not ${second}`];
}

const askFor = (api: TestApi, key: string, { root, slot }: Oracle, id: string): Promise<Answer> =>
  api.ask(key, root.document, withSlot(root.variables(), slot.path, id));

/** The answer without what differs for every request: the id for the log, and the asked id where it is quoted. */
const publicPart = (answer: Answer, id: string): string =>
  JSON.stringify(answer, (name, value: unknown) => (name === 'id' ? undefined : value)).replaceAll(
    id,
    '<id>',
  );

async function timingAuc(
  api: TestApi,
  key: string,
  oracle: Oracle,
  ids: VictimIds,
  pairs: number,
): Promise<number> {
  const random = seededRandom();
  const foreign: number[] = [];
  const unknown: number[] = [];
  const time = async (id: string, into: number[]): Promise<void> => {
    const started = performance.now();
    await askFor(api, key, oracle, id);
    into.push(performance.now() - started);
  };
  for (let warm = 0; warm < 50; warm += 1) await askFor(api, key, oracle, ids[oracle.kind]);
  let asked = '';
  for (let pair = 0; pair < pairs; pair += 1) {
    // each unknown id is asked once before it is timed, as the foreign one was: a first question is slower for any id
    if (pair % BLOCK === 0) {
      asked = unknownLike(ids[oracle.kind], oracle.kind);
      for (let warm = 0; warm < 5; warm += 1) await askFor(api, key, oracle, asked);
    }
    const real = (): Promise<void> => time(ids[oracle.kind], foreign);
    const made = (): Promise<void> => time(asked, unknown);
    // in random order, so that whatever drifts meets both alike
    for (const one of random.below(2) === 0 ? [real, made] : [made, real]) await one();
  }
  return areaUnderCurve(foreign, unknown);
}

/** Mann-Whitney: share of the pairs in which the first is the larger. */
export function areaUnderCurve(first: readonly number[], second: readonly number[]): number {
  const sorted = second.toSorted((a, b) => a - b);
  const below = (value: number): number => {
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((sorted[middle] ?? 0) < value) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  const wins = first.reduce((sum, value) => sum + below(value), 0);
  return wins / (first.length * sorted.length);
}
