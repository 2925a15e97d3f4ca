import type { TestDatabase } from './database.js';
import type { Received } from './receiver.js';

/** A row of the effects ledger. */
export interface EffectRow {
  readonly key: string;
  readonly state: 'open' | 'released' | 'closed';
  readonly outcome: string | null;
  readonly idempotency: 'keyed' | 'natural' | 'none';
  readonly holder: string;
  readonly window: string;
  readonly charged: number;
}
/** A record of the journal; within a tenant, ids of what its exclusive lock orders are in the order of commits. */
export interface JournalRow {
  readonly id: number;
  readonly kind: string;
  readonly key: string | null;
  readonly body: { readonly [name: string]: unknown };
  /** Milliseconds of the epoch. */
  readonly at: number;
}
/** What a caller was told, and so relies on. */
export interface Ack {
  readonly ref: string;
  readonly outcome: string;
}
/** When a stop was said to be in force and when it was lifted, on the receiver's clock. */
export interface InForce {
  readonly stop: string;
  readonly from: number;
  readonly until: number;
  /** Which calls it covers; all of them unless told. */
  readonly covers?: (ref: string) => boolean;
}

/** Everything that the parts of one tenant say about the same calls. */
export interface History {
  readonly effects: readonly EffectRow[];
  readonly journal: readonly JournalRow[];
  /** The quota ledger: calls that count, per window. */
  readonly used: ReadonlyMap<string, number>;
  readonly received: readonly Received[];
  readonly acks: readonly Ack[];
  /** The call key of each ref that was ever asked for. */
  readonly keys: ReadonlyMap<string, string>;
  readonly inForce: readonly InForce[];
  /** When each host was fenced. */
  readonly fencedAt: ReadonlyMap<string, number>;
}

export const VIOLATIONS = [
  'conservation',
  'duplicate',
  'lost_ack',
  'unadmitted',
  'effect_after_stop',
  'stale_settle',
] as const;
export interface Violation {
  readonly kind: (typeof VIOLATIONS)[number];
  readonly what: string;
}

/** Compares the books: nothing is lost, doubled, acted without an entry, after a stop or by a host that was fenced. */
export function checkHistory(history: History): readonly Violation[] {
  return [
    ...conservation(history),
    ...duplicates(history),
    ...acknowledgements(history),
    ...afterStops(history),
    ...staleSettles(history),
  ];
}

const found = (kind: Violation['kind'], what: string): Violation => ({ kind, what });

/** What the quota says was used is what the effects were charged, and each effect's records add up to its state. */
function conservation({ effects, used, journal }: History): Violation[] {
  const charged = new Map<string, number>();
  for (const effect of effects) {
    charged.set(effect.window, (charged.get(effect.window) ?? 0) + effect.charged);
  }
  const windows = new Set([...charged.keys(), ...used.keys()]);
  const unequal = [...windows].filter((window) => (charged.get(window) ?? 0) !== (used.get(window) ?? 0));
  const records = countByKey(journal);
  return [
    ...unequal.map((window) =>
      found('conservation', `${window}: ${used.get(window) ?? 0} used, ${charged.get(window) ?? 0} charged`),
    ),
    ...effects
      .filter((effect) => !addsUp(effect, records.get(effect.key)))
      .map(({ key, state }) =>
        found('conservation', `${key} is ${state} after ${JSON.stringify(records.get(key))}`),
      ),
  ];
}

interface Records {
  intent: number;
  release: number;
  close: number;
}
function countByKey(journal: readonly JournalRow[]): Map<string, Records> {
  const counts = new Map<string, Records>();
  for (const { kind, key } of journal) {
    if (key === null || !(kind === 'intent' || kind === 'release' || kind === 'close')) continue;
    const count = counts.get(key) ?? { intent: 0, release: 0, close: 0 };
    count[kind] += 1;
    counts.set(key, count);
  }
  return counts;
}

/** A key is opened, given back any number of times, and closed at most once. */
function addsUp({ state }: EffectRow, records: Records | undefined): boolean {
  if (!records) return false;
  const { intent, release, close } = records;
  if (state === 'released') return intent === release && close === 0;
  return intent === release + 1 && close === (state === 'closed' ? 1 : 0);
}

/** One act per call; a tool that cannot be repeated hears of it once at most. */
function duplicates({ received, effects, keys }: History): Violation[] {
  const byKey = new Map(effects.map((effect) => [effect.key, effect]));
  return [...groupByRef(received)].flatMap(([ref, requests]) => {
    const effect = byKey.get(keys.get(ref) ?? '');
    const counted =
      effect?.idempotency === 'none' ? requests.length : requests.filter(({ acted }) => acted).length;
    return counted > 1 ? [found('duplicate', `${ref} acted ${counted} times`)] : [];
  });
}

function groupByRef(received: readonly Received[]): Map<string, Received[]> {
  const groups = new Map<string, Received[]>();
  for (const request of received) groups.set(request.ref, [...(groups.get(request.ref) ?? []), request]);
  return groups;
}

/** What was told to a caller stands in the ledger and happened; what happened was admitted. */
function acknowledgements({ received, effects, keys, acks }: History): Violation[] {
  const byKey = new Map(effects.map((effect) => [effect.key, effect]));
  const happened = new Set(received.map(({ ref }) => ref));
  const effectOf = (ref: string): EffectRow | undefined => byKey.get(keys.get(ref) ?? '');
  const lost = acks.filter(({ ref, outcome }) => {
    const effect = effectOf(ref);
    return (
      effect?.state !== 'closed' || effect.outcome !== outcome || (outcome === 'ok' && !happened.has(ref))
    );
  });
  const unadmitted = [...happened].filter((ref) => {
    const effect = effectOf(ref);
    return effect === undefined || effect.state === 'released';
  });
  return [
    ...lost.map(({ ref, outcome }) => found('lost_ack', `${ref} was answered ${outcome}`)),
    ...unadmitted.map((ref) => found('unadmitted', `${ref} reached the tool`)),
  ];
}

/** Between a stop's commit and its lifting nothing that it covers is admitted, and once in force nothing arrives. */
function afterStops({ journal, received, inForce }: History): Violation[] {
  const changes = journal.filter(({ kind }) => kind === 'control');
  const admitted = changes
    .filter(({ body }) => body['change'] === 'stopped' && body['scope'] === 'tenant')
    .flatMap((stopped) => {
      const { stop, state } = stopped.body;
      const lifted = changes.find(({ body }) => body['change'] === 'resumed' && body['stop'] === stop);
      const coversReads = state === 'killed' || state === 'paused';
      return journal.filter(
        ({ kind, id, body }) =>
          kind === 'intent' &&
          id > stopped.id &&
          id < (lifted?.id ?? Number.POSITIVE_INFINITY) &&
          (coversReads || body['effectClass'] !== 'read'),
      );
    });
  const arrived = inForce.flatMap(({ from, until, covers = () => true }) =>
    received.filter(({ ref, at }) => at > from && at < until && covers(ref)),
  );
  return [
    ...admitted.map(({ id }) => found('effect_after_stop', `intent ${id} was admitted under a stop`)),
    ...arrived.map(({ ref }) => found('effect_after_stop', `${ref} arrived when a stop was in force`)),
  ];
}

/** Only who holds an effect settles it, and never once it is fenced. The reaper and a takeover say so themselves. */
function staleSettles({ journal, effects, fencedAt }: History): Violation[] {
  const holders = new Map(effects.map(({ key, holder }) => [key, holder]));
  const settles = journal.filter(
    ({ kind, body }) => kind === 'release' || (kind === 'close' && body['outcome'] !== 'indeterminate'),
  );
  return settles
    .filter(({ kind, key, body, at }) => {
      const by = String(body['by']);
      const isLate = at > (fencedAt.get(by) ?? Number.POSITIVE_INFINITY);
      return isLate || (kind === 'close' && holders.get(key ?? '') !== by);
    })
    .map(({ key, body }) => found('stale_settle', `${key} was settled by ${String(body['by'])}`));
}

/** What the database knows of a tenant's calls. */
export async function readLedgers(
  database: TestDatabase,
  tenant: string,
): Promise<Pick<History, 'effects' | 'journal' | 'used'>> {
  const effects = await database.asOwner<EffectRow>(
    `SELECT key, state, outcome, idempotency, holder_host AS holder, "window", charged::int FROM effects WHERE tenant_id = $1`,
    [tenant],
  );
  const journal = await database.asOwner<JournalRow>(
    `SELECT id::int, kind, key, body, extract(epoch FROM at)::float8 * 1000 AS at FROM journal_records WHERE tenant_id = $1 ORDER BY id`,
    [tenant],
  );
  const counters = await database.asOwner<{ window: string; used: number }>(
    `SELECT "window", used::int FROM counters WHERE tenant_id = $1 AND layer = 'tool_calls_per_day'`,
    [tenant],
  );
  return { effects, journal, used: new Map(counters.map(({ window, used }) => [window, used])) };
}
