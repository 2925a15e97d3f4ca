import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { inject } from 'vitest';
import { BulkheadError, tenantId } from '@bulkhead/contract';
import type { CallAnswer, Envelope, TenantId } from '@bulkhead/contract';
import { tenantKeys } from '@bulkhead/prisma/tenant';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import { createKeyRing } from '@bulkhead/runtime/keys';
import { newUlid } from '@bulkhead/runtime/ulid';
import { createSecretBroker } from '@bulkhead/secret-broker/line';
import { rotateTenantKey } from '@bulkhead/tenancy/admin';
import { openLine } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';
import { startMain } from '../support/processes.js';
import { zeroOf } from './proof.js';
import type { Proof, ProofSize } from './proof.js';
import { grant } from '../support/quotas.js';

const BROKEN_MS: Record<ProofSize, number> = { tiny: 600, ci: 3_000, full: 60_000 };
const EVERY_MS = 20;
/** What a process may have in memory of a key that is gone. */
const KEY_TTL_MS = 10_000;
const ACME = tenantId('acme');
const DRILL = { actor: 'proof', reason: 'a key goes' };

/** A way in which the credential cannot be had, and how a call that needs it is refused meanwhile. */
interface Outage {
  readonly name: string;
  /** A value that the author and the tenant see, or a fault that is tried again by itself. */
  readonly refusal: 'value' | 'fault';
  begin(world: World): Promise<unknown>;
  end(world: World): Promise<unknown>;
}

interface World {
  readonly line: LineUnderTest;
  readonly host: Host;
  readonly run: Envelope;
  readonly faults: string[];
  /** Of the broker alone. */
  breakStore(as: 'none' | 'away' | 'slow'): void;
  /** Moves the clock of broker and key ring; without a time, past all that they remember. */
  later(ms?: number): void;
  calls: number;
}

const OUTAGES: readonly Outage[] = [
  {
    name: 'the key that wraps the secret is gone',
    refusal: 'value',
    begin: ({ line }) =>
      line.database.asOwner(
        "UPDATE tenant_keys SET key_id = 'gone-' || key_id WHERE tenant_id = 'acme' AND state = 'retired'",
      ),
    end: ({ line }) =>
      line.database.asOwner(
        "UPDATE tenant_keys SET key_id = substring(key_id FROM 6) WHERE tenant_id = 'acme' AND state = 'retired'",
      ),
  },
  {
    name: 'that key is not the one that it was',
    refusal: 'value',
    begin: ({ line }) => damage(line, 'tenant_keys', 'wrapped', "state = 'retired'"),
    end: ({ line }) => damage(line, 'tenant_keys', 'wrapped', "state = 'retired'"),
  },
  {
    name: 'the ciphertext is damaged',
    refusal: 'value',
    begin: ({ line }) => damage(line, 'secret_versions', 'ciphertext', "name = 'desk'"),
    end: ({ line }) => damage(line, 'secret_versions', 'ciphertext', "name = 'desk'"),
  },
  {
    name: 'the store of secrets is away',
    refusal: 'fault',
    begin: async ({ breakStore }) => breakStore('away'),
    end: async ({ breakStore }) => breakStore('none'),
  },
  {
    name: 'the store of secrets does not answer',
    refusal: 'fault',
    begin: async ({ breakStore }) => breakStore('slow'),
    end: async ({ breakStore }) => breakStore('none'),
  },
];

/** Turns every bit of the first byte; again, and it is as it was. */
function damage(line: LineUnderTest, table: string, column: string, where: string): Promise<unknown> {
  return line.database.asOwner(
    `UPDATE ${table} SET ${column} = set_byte(${column}, 0, get_byte(${column}, 0) # 255) WHERE tenant_id = 'acme' AND ${where}`,
  );
}

/**
 * The credential cannot be had in five ways under 50 calls a second, half of which need it. Those are refused: nothing of
 * them reaches the tool, and where trying again cannot help the tenant reads why in the journal and in the run. The
 * others go on. Once it is back, calls go on by themselves. Nobody keeps the value: a key that is gone is used for at
 * most the ten seconds that a process remembers it. Without the master key, or with another one, no host starts.
 */
export const run: Proof = async ({ size, progress }) => {
  const line = await openLine();
  const faults: string[] = [];
  try {
    await grant(line.db('acme'), 'tool_calls_per_day', 10_000_000);
    // from here on requests are sealed with another key than the one that wraps the secret
    await rotateTenantKey(line.db('acme'), line.keyRing, DRILL);
    line.keyRing.forget(ACME);
    const world = await openWorld(line, faults);
    for (const outage of OUTAGES) {
      await during(world, outage, BROKEN_MS[size]);
      progress(`${outage.name}: ${world.calls} calls so far`);
    }
    await remembered(world);
    faults.push(...(await withoutMasterKey(line)));
    return zeroOf('calls with, or stopped for, a credential that is not there', world.calls, faults);
  } finally {
    await line.close();
  }
};

async function openWorld(line: LineUnderTest, faults: string[]): Promise<World> {
  let state: 'none' | 'away' | 'slow' = 'none';
  let aheadMs = 0;
  const nowMs = (): number => performance.now() + aheadMs;
  const away = (): Promise<never> =>
    state === 'away'
      ? Promise.reject(new BulkheadError('DATABASE_UNAVAILABLE'))
      : sleep(400).then(() => Promise.reject(new BulkheadError('DATABASE_UNAVAILABLE')));
  const door: Pick<TenantDoor, 'tenant'> = {
    tenant: (id: TenantId) => {
      const db = line.door.tenant(id);
      return { ...db, run: (work) => (state === 'none' ? db.run(work) : away()) };
    },
  };
  const keyRing = createKeyRing({
    masterKeyPath: inject('servers').keys.master,
    loadTenantKey: tenantKeys(line.door),
    nowMs,
  });
  const broker = createSecretBroker({ door, keyRing, nowMs, newUlid: () => newUlid(Date.now()) });
  return {
    line,
    faults,
    host: await line.newHost({ broker, keyRing }),
    run: await line.newRun('acme'),
    calls: 0,
    breakStore: (as) => {
      state = as;
    },
    later: (ms = 60_000) => {
      aheadMs += ms;
    },
  };
}

async function during(world: World, outage: Outage, forMs: number): Promise<void> {
  const { line, faults } = world;
  for (const tool of ['desk.update', 'open.send']) {
    const answer = await call(world, tool);
    if (answer !== 'ok') faults.push(`before ${outage.name}, ${tool}: ${answer}`);
  }
  await outage.begin(world);
  world.later();
  const heard = line.tool.requests.length;
  const pending: Promise<void>[] = [];
  for (const until = performance.now() + forMs; performance.now() < until;) {
    pending.push(expectDuring(world, outage));
    await sleep(EVERY_MS);
  }
  await Promise.all(pending);
  const withCredential = line.tool.requests.slice(heard).filter(({ headers }) => headers.authorization);
  if (withCredential.length > 0)
    faults.push(`${outage.name}: ${withCredential.length} requests with a credential`);
  if (outage.refusal === 'value') await mustBeVisible(world, outage);
  await outage.end(world);
  world.later();
  const after = await call(world, 'desk.update');
  if (after !== 'ok') faults.push(`after ${outage.name}: ${after}`);
}

/** Two calls at once, one that needs the credential and one that does not. */
async function expectDuring(world: World, outage: Outage): Promise<void> {
  const [needs, does] = await Promise.all([call(world, 'desk.update'), call(world, 'open.send')]);
  const wanted = outage.refusal === 'value' ? 'provider_unavailable' : 'DATABASE_UNAVAILABLE';
  if (needs !== wanted) world.faults.push(`${outage.name}: a call that needs it was answered ${needs}`);
  if (does !== 'ok') world.faults.push(`${outage.name}: a call without a credential was answered ${does}`);
}

async function call(world: World, tool: string): Promise<string> {
  world.calls += 1;
  return world.host
    .call(world.run, tool, { id: `n${world.calls}` })
    .then((answer: CallAnswer) => answer.kind)
    .catch((error: unknown) => (error instanceof BulkheadError ? error.code : String(error)));
}

async function mustBeVisible({ line, run: { runId }, faults }: World, { name }: Outage): Promise<void> {
  const [seen] = await line.database.asOwner<{ run: string; records: number }>(
    `SELECT (SELECT reason->>'layer' FROM runs WHERE id = $1) AS run,
            (SELECT count(*)::int FROM journal_records WHERE run_id = $1 AND kind = 'decision'
                AND body->>'decision' = 'provider_unavailable' AND body->>'layer' = 'credentials') AS records`,
    [runId],
  );
  if (seen?.run !== 'credentials' || seen.records === 0)
    faults.push(`${name}: the tenant sees ${JSON.stringify(seen)}`);
}

/** What a process remembers of a key ends within its time. */
async function remembered(world: World): Promise<void> {
  const [outage] = OUTAGES;
  if ((await call(world, 'desk.update')) !== 'ok') world.faults.push('the last call before the key goes');
  await outage!.begin(world);
  world.later(KEY_TTL_MS + 1);
  const late = await call(world, 'desk.update');
  if (late !== 'provider_unavailable')
    world.faults.push(`${KEY_TTL_MS} ms after its key was gone: answered ${late}`);
  await outage!.end(world);
}

/** @returns what is wrong */
async function withoutMasterKey(line: LineUnderTest): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'fc-4-'));
  const faults: string[] = [];
  try {
    const other = join(folder, 'other.key');
    await writeFile(other, randomBytes(32).toString('base64'), { mode: 0o600 });
    const keyRing = createKeyRing({ masterKeyPath: other, loadTenantKey: tenantKeys(line.door) });
    const host = await line.newHost({ keyRing });
    const before = line.tool.requests.length;
    const answer = await host
      .call(await line.newRun('acme'), 'desk.update', { id: 'x' })
      .catch((error: unknown) => error);
    if (!(answer instanceof BulkheadError) || answer.code !== 'KEY_UNAVAILABLE')
      faults.push(`with another master key: ${JSON.stringify(answer)}`);
    if (line.tool.requests.length > before) faults.push('with another master key something was sent');
    const started = await startMain('host', folder, hostWithoutMasterKey(line, folder)).then(
      async (main) => (await main.stop(), true),
      () => false,
    );
    if (started) faults.push('a host started without a master key');
    return faults;
  } finally {
    await rm(folder, { recursive: true });
  }
}

function hostWithoutMasterKey(line: LineUnderTest, folder: string): object {
  const { temporal, keys } = inject('servers');
  return {
    role: 'host',
    database: { url: line.database.appUrl, poolMax: 2 },
    temporal: { address: temporal.address, enforcesTokens: true, tokensDir: join(folder, 'tokens') },
    keys: { master: join(folder, 'missing.key'), envelopePublic: keys.envelopePublic },
    host: { bundlePath: 'none', dataDir: folder, mcpServers: {}, egress: { allow: [] } },
    log: { level: 'info' },
  };
}
