import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import type { TenantId, ToolId } from '@bulkhead/contract';
import { TenantCache } from '@bulkhead/contract';
import { createPolicy } from '@bulkhead/policy/line';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import { createKeyRing } from '@bulkhead/runtime/keys';
import { createSecretBroker } from '@bulkhead/secret-broker/line';
import { createToolMatcher } from '@bulkhead/tool-gateway/line';
import { admittingJournal } from '../support/admissions.js';
import { zeroOf } from './proof.js';
import type { Proof, ProofSize } from './proof.js';

const PAIRS: Record<ProofSize, number> = { tiny: 200, ci: 1_150_000, full: 4_000_000 };

/** A cache as its room uses it. `ask` looks something up and says for whom the source was asked, if it was asked. */
interface CacheUnderTest {
  readonly name: string;
  /** How many of a thousand pairs; the plain cache that the others are made of takes most of them. */
  readonly share: number;
  ask(tenantId: TenantId, key: string): Promise<string | undefined>;
}

/** Separators, escapes, look-alikes, invisible and unpaired characters: whatever could blur the border of two parts. */
const PIECES = [
  '/',
  '|',
  ':',
  ',',
  '"',
  '","',
  '\\',
  '\u0000',
  '\n',
  '["',
  'null',
  'active',
  'a',
  'b',
  'A',
  '1',
  '01',
  ' ',
  '\u00e9',
  'e\u0301',
  '\u200b',
  '\u2024',
  '\ud800',
  '\udc00',
  '\uff0f',
];
const word = fc.array(fc.constantFrom(...PIECES), { maxLength: 4 }).map((pieces) => pieces.join(''));
/** Two tenants and two keys; often the same key, or the same letters with another border. */
const pairs = fc.oneof(
  fc.tuple(word, word, word).map(([one, two, key]) => [one, key, two, key] as const),
  fc.tuple(word, word, word).map(([one, two, key]) => [one + two, key, one, two + key] as const),
  fc.tuple(word, word, word, word),
);

/**
 * Every cache of the line, from outside: after one tenant's entry is remembered, another tenant's lookup must ask the
 * source, for that tenant. The tenant ids are hostile on purpose; the doors would refuse most of them earlier.
 */
export const run: Proof = async ({ size, progress }) => {
  const folder = await mkdtemp(join(tmpdir(), 'iso-7-'));
  const faults: string[] = [];
  let tried = 0;
  try {
    const caches = await cachesUnderTest(folder);
    for (const cache of caches) {
      const numRuns = Math.ceil((PAIRS[size] * cache.share) / 1_000);
      for (const [one, key, two, other] of fc.sample(pairs, numRuns)) {
        if (one === two) continue;
        tried += 1;
        await cache.ask(one as TenantId, key);
        const asked = await cache.ask(two as TenantId, other);
        // undefined: answered from memory, which is right only for what this tenant itself remembered
        if (asked !== undefined && asked !== two)
          faults.push(`${cache.name}: ${two} was answered as ${asked}`);
      }
      progress(`${cache.name}: ${numRuns} pairs`);
    }
    return zeroOf('collisions', tried, faults);
  } finally {
    await rm(folder, { recursive: true });
  }
};

async function cachesUnderTest(folder: string): Promise<CacheUnderTest[]> {
  const masterKeyPath = join(folder, 'master.key');
  await writeFile(masterKeyPath, randomBytes(32).toString('base64'), { mode: 0o600 });
  return [plain(), policyHeads(), tools(), secrets(), keys(masterKeyPath)];
}

/**
 * Decides from an entry's own tenant, so an answer from memory counts too: `of` is written into what is remembered and
 * read back.
 */
function plain(): CacheUnderTest {
  const cache = new TenantCache<string>({ max: 2_000, freshMs: 1, nowMs: () => 0 });
  return {
    name: 'TenantCache',
    share: 800,
    ask: async (tenantId, key) => {
      const known = cache.get(tenantId, [key]);
      if (known) return known.value;
      cache.set(tenantId, [key], tenantId);
      return tenantId;
    },
  };
}

/** A door whose rows are made up and name the tenant they were asked for. */
function tellingDoor(row: object | null): {
  door: Pick<TenantDoor, 'tenant'>;
  asked: () => string | undefined;
} {
  let asked: string | undefined;
  const table = { findUnique: async () => row, findFirst: async () => row };
  const tx = { secret: table, secretVersion: table };
  const door = {
    tenant: (tenantId: TenantId) => ({
      tenantId,
      run: async (work: (client: never) => Promise<unknown>) => {
        asked = tenantId;
        return work(tx as never);
      },
      read: async () => {
        asked = tenantId;
        return row ? [row] : [];
      },
    }),
  } as unknown as Pick<TenantDoor, 'tenant'>;
  return {
    door,
    asked: () => {
      const last = asked;
      asked = undefined;
      return last;
    },
  };
}

/** Wraps a cache that only tells whether it asked: a pair seen for the first time must have asked. */
function mustAsk(
  name: string,
  share: number,
  asked: () => string | undefined,
  look: (tenantId: TenantId, key: string) => Promise<unknown>,
): CacheUnderTest {
  const seen = new Set<string>();
  return {
    name,
    share,
    ask: async (tenantId, key) => {
      const pair = `${tenantId.length}:${tenantId}${key}`;
      asked();
      await look(tenantId, key).catch(() => undefined);
      const source = asked();
      const first = !seen.has(pair);
      seen.add(pair);
      return source ?? (first ? 'somebody else' : undefined);
    },
  };
}

function policyHeads(): CacheUnderTest {
  const { door, asked } = tellingDoor(null);
  const policy = createPolicy({ door, nowMs: () => 0 });
  const facts = { tool: 'a.b', system: 'a', effect: 'read', destination: null, args: {} } as never;
  return mustAsk('policy heads', 50, asked, (tenantId, key) => policy.authorise(tenantId, key, facts));
}

function tools(): CacheUnderTest {
  const { door, asked } = tellingDoor(null);
  const matcher = createToolMatcher(door);
  return mustAsk('tools', 50, asked, (tenantId, key) => matcher.match(tenantId, key as ToolId, {}));
}

function secrets(): CacheUnderTest {
  const row = {
    state: 'active',
    boundHosts: ['x'],
    wrappedKey: Buffer.alloc(1),
    ciphertext: Buffer.alloc(1),
  };
  const { door, asked } = tellingDoor(row);
  const nothing = (): Promise<never> => Promise.reject(new Error('opens nothing'));
  const keyRing = { open: nothing, check: nothing };
  const broker = createSecretBroker({ door, keyRing, newUlid: () => '', nowMs: () => 0 });
  const journal = admittingJournal();
  return mustAsk('secrets', 50, asked, async (tenantId, name) =>
    broker.lease(await journal.admit(tenantId, name)),
  );
}

/** The key ring unwraps for real: a key of one tenant does not unwrap for another either. */
function keys(masterKeyPath: string): CacheUnderTest {
  let asked: string | undefined;
  const ring = createKeyRing({
    masterKeyPath,
    nowMs: () => 0,
    loadTenantKey: async (tenantId, keyId) => {
      asked = tenantId;
      const { wrapped, keyId: made } = ring.newTenantKey(tenantId);
      return { keyId: keyId ?? made, wrapped };
    },
  });
  const take = (): string | undefined => {
    const last = asked;
    asked = undefined;
    return last;
  };
  // sealed values name their key; a lone surrogate would be written as another character
  const cache = mustAsk('key ring', 50, take, (tenantId, key) => {
    const id = Buffer.from(key, 'utf8');
    return ring.open(tenantId, 'x', Buffer.concat([Buffer.from([1, id.length]), id, Buffer.alloc(40)]));
  });
  return { ...cache, ask: (tenantId, key) => cache.ask(tenantId, key.toWellFormed()) };
}
