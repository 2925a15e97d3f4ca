import { describe, expect, it } from 'vitest';
import { checkHistory, VIOLATIONS } from '../support/history-checker.js';
import type { Ack, EffectRow, History, InForce, JournalRow, Violation } from '../support/history-checker.js';
import { seededRandom } from '../support/random.js';
import type { Random } from '../support/random.js';
import { createReceiver } from '../support/receiver.js';
import type { Received } from '../support/receiver.js';

/** Histories that a line without faults could have left, and the same with one thing wrong: the checker tells them apart. */
const HISTORIES = 400;
const WINDOW = '2026-11-24';

interface Draft {
  effects: EffectRow[];
  journal: JournalRow[];
  used: number;
  received: Received[];
  acks: Ack[];
  keys: Map<string, string>;
  inForce: InForce[];
  fencedAt: Map<string, number>;
}

const historyOf = (draft: Draft): History => ({ ...draft, used: new Map([[WINDOW, draft.used]]) });

/** 3 hosts, of which one is fenced on the way, 4 to 30 calls and one stop. */
function wholeHistory(random: Random): Draft {
  const receiver = createReceiver({ honoursKeys: true });
  const draft: Draft = {
    effects: [],
    journal: [],
    used: 0,
    received: [],
    acks: [],
    keys: new Map(),
    inForce: [],
    fencedAt: new Map(),
  };
  let clock = 1_000;
  const write = (kind: string, key: string | null, body: object): void => {
    clock += 1 + random.below(20);
    draft.journal.push({ id: draft.journal.length + 1, kind, key, body: { ...body }, at: clock });
  };
  const hosts = ['h-0', 'h-1', 'h-2'];
  const calls = 4 + random.below(27);
  const stopAt = random.below(calls);
  const fenceAt = random.below(calls);
  for (let n = 0; n < calls; n += 1) {
    const ref = `r-${n}`;
    const key = `k-${n}`;
    draft.keys.set(ref, key);
    if (n === fenceAt) {
      hosts.shift();
      clock += 1;
      draft.fencedAt.set('h-0', clock);
    }
    if (n === stopAt) {
      write('control', null, { change: 'stopped', stop: 's', scope: 'tenant', state: 'killed' });
      clock += 50;
      draft.inForce.push({ stop: 's', from: clock, until: clock + 100 });
      clock += 101;
      write('control', null, { change: 'resumed', stop: 's' });
    }
    oneCall(random, draft, receiver.book, { ref, key, host: random.pick(hosts) }, write, () => (clock += 1));
  }
  return draft;
}

function oneCall(
  random: Random,
  draft: Draft,
  book: (ref: string, key: string | undefined) => boolean,
  { ref, key, host }: { ref: string; key: string; host: string },
  write: (kind: string, key: string | null, body: object) => void,
  tick: () => number,
): void {
  const idempotency = random.pick(['keyed', 'natural', 'none'] as const);
  const row = { key, idempotency, holder: host, window: WINDOW };
  const intent = { effectClass: random.pick(['read', 'write']), host };
  while (random.below(4) === 0) {
    write('intent', key, intent);
    write('release', key, { by: host });
  }
  write('intent', key, intent);
  if (random.below(6) === 0) {
    write('release', key, { by: host });
    draft.effects.push({ ...row, state: 'released', outcome: null, charged: 0 });
    return;
  }
  draft.used += 1;
  const repeats = idempotency === 'keyed' ? random.below(2) : 0;
  for (let sent = 0; sent <= repeats; sent += 1) {
    const acted = book(ref, idempotency === 'keyed' ? key : undefined);
    draft.received.push({ ref, key, at: tick(), acted });
  }
  const outcome = random.pick(['ok', 'tool_failed', 'indeterminate'] as const);
  if (random.below(8) === 0) {
    draft.effects.push({ ...row, state: 'open', outcome: null, charged: 1 });
    return;
  }
  write('close', key, { outcome, by: outcome === 'indeterminate' ? 'reaper' : host });
  draft.effects.push({ ...row, state: 'closed', outcome, charged: 1 });
  if (random.below(2) === 0) draft.acks.push({ ref, outcome });
}

/** Plants one violation; false: this history has no place for it. */
const PLANTS: Record<Violation['kind'], readonly ((draft: Draft, random: Random) => boolean)[]> = {
  conservation: [
    (draft) => ((draft.used += 1), true),
    (draft) => ((draft.used -= 1), true),
    (draft, random) => removed(draft.journal, random, ({ kind }) => kind === 'intent'),
    (draft, random) => doubled(draft.journal, random, ({ kind }) => kind === 'release'),
  ],
  duplicate: [
    (draft, random) =>
      changed(
        draft.received,
        random,
        ({ acted }) => !acted,
        (request) => ({ ...request, acted: true }),
      ),
    (draft, random) =>
      doubled(draft.received, random, ({ ref }) =>
        draft.effects.some(({ key, idempotency }) => key === draft.keys.get(ref) && idempotency === 'none'),
      ),
  ],
  lost_ack: [
    (draft) => {
      const open = draft.effects.filter(({ state }) => state !== 'closed');
      const ref = [...draft.keys].find(([, key]) => open.some((effect) => effect.key === key))?.[0];
      return ref !== undefined && draft.acks.push({ ref, outcome: 'ok' }) > 0;
    },
    (draft, random) =>
      changed(
        draft.acks,
        random,
        ({ outcome }) => outcome === 'tool_failed',
        (ack) => ({ ...ack, outcome: 'ok' }),
      ),
  ],
  unadmitted: [
    (draft) => draft.received.push({ ref: 'r-none', key: 'k', at: 1, acted: true }) > 0,
    (draft) => {
      const given = draft.effects.find(({ state }) => state === 'released');
      const ref = [...draft.keys].find(([, key]) => key === given?.key)?.[0];
      return ref !== undefined && draft.received.push({ ref, key: undefined, at: 1, acted: true }) > 0;
    },
  ],
  effect_after_stop: [
    (draft) => {
      const at = draft.journal.findIndex(({ body }) => body['change'] === 'resumed');
      const next = draft.journal.findIndex(({ kind }, index) => index > at && kind === 'intent');
      if (next < 0) return false;
      const [lifted, intent] = [draft.journal[at]!, draft.journal[next]!];
      draft.journal[at] = { ...lifted, id: intent.id };
      draft.journal[next] = { ...intent, id: lifted.id };
      return true;
    },
    (draft, random) => {
      const [{ from }] = draft.inForce as [InForce];
      return changed(
        draft.received,
        random,
        () => true,
        (request) => ({ ...request, at: from + 1 }),
      );
    },
  ],
  stale_settle: [
    (draft, random) =>
      changed(
        draft.journal,
        random,
        ({ kind, body }) => kind === 'close' && body['outcome'] !== 'indeterminate',
        (record) => ({ ...record, body: { ...record.body, by: 'h-9' } }),
      ),
    (draft, random) =>
      changed(
        draft.journal,
        random,
        ({ kind, at }) => kind === 'release' && at > (draft.fencedAt.get('h-0') ?? 0),
        (record) => ({ ...record, body: { ...record.body, by: 'h-0' } }),
      ),
  ],
};

function pickIndex<T>(list: readonly T[], random: Random, fits: (item: T) => boolean): number | undefined {
  const fitting = list.flatMap((item, index) => (fits(item) ? [index] : []));
  return fitting.length === 0 ? undefined : random.pick(fitting);
}
function removed<T>(list: T[], random: Random, fits: (item: T) => boolean): boolean {
  const at = pickIndex(list, random, fits);
  if (at !== undefined) list.splice(at, 1);
  return at !== undefined;
}
function doubled<T>(list: T[], random: Random, fits: (item: T) => boolean): boolean {
  const at = pickIndex(list, random, fits);
  if (at !== undefined) list.push(list[at]!);
  return at !== undefined;
}
function changed<T>(list: T[], random: Random, fits: (item: T) => boolean, change: (item: T) => T): boolean {
  const at = pickIndex(list, random, fits);
  if (at !== undefined) list[at] = change(list[at]!);
  return at !== undefined;
}

describe('the history checker', () => {
  it('finds nothing in histories without faults', () => {
    const random = seededRandom();
    for (let n = 0; n < HISTORIES; n += 1) {
      expect(checkHistory(historyOf(wholeHistory(random))), `SEED=${random.seed} history ${n}`).toEqual([]);
    }
  });

  it.each(VIOLATIONS)('finds every planted %s', (kind) => {
    const random = seededRandom();
    for (const [index, plant] of PLANTS[kind].entries()) {
      let planted = 0;
      for (let n = 0; n < HISTORIES; n += 1) {
        const draft = wholeHistory(random);
        if (!plant(draft, random)) continue;
        planted += 1;
        const kinds = checkHistory(historyOf(draft)).map((violation) => violation.kind);
        expect(kinds, `SEED=${random.seed} plant ${index} history ${n}`).toContain(kind);
      }
      expect(planted).toBeGreaterThan(HISTORIES / 10);
    }
  });
});
