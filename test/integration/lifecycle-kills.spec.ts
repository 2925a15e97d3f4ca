import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, inject, it, vi } from 'vitest';
import { AFTER_GRACE, LIFECYCLE_STEPS, tenantId } from '@bulkhead/contract';
import type { LifecycleStep } from '@bulkhead/contract';
import { openTenantDoor } from '@bulkhead/prisma/tenant';
import type { TenantDb, TenantDoor } from '@bulkhead/prisma/tenant';
import { createKeyRing } from '@bulkhead/runtime/keys';
import { newUlid } from '@bulkhead/runtime/ulid';
import { createTenant, getTenant, latestLifecycle, requestLifecycle } from '@bulkhead/tenancy/admin';
import type { LifecycleOrder } from '@bulkhead/tenancy/admin';
import { controlFolders, controlKeys } from '../support/control-keys.js';
import { freshDatabase } from '../support/database.js';
import type { TestDatabase } from '../support/database.js';
import { startMain } from '../support/processes.js';
import type { RunningMain } from '../support/processes.js';
import { seededRandom } from '../support/random.js';

/**
 * The control process on the real database and server is killed in a step of each thing that is done to a tenant; the
 * next one ends it the same. Which step and how far into it is random: SEED repeats a run.
 */
const random = seededRandom(process.env['SEED'] === undefined ? undefined : Number(process.env['SEED']));
const ACME = tenantId(`kill-${Date.now().toString(36)}`);
let database: TestDatabase;
let door: TenantDoor;
let db: TenantDb;
let dataDir: string;
let control: RunningMain;

const startControl = (): Promise<RunningMain> =>
  startMain('control', dataDir, {
    role: 'control',
    database: { url: database.controlUrl, poolMax: 8 },
    temporal: {
      address: inject('servers').temporal.address,
      enforcesTokens: true,
      tokensDir: join(dataDir, 'tokens'),
    },
    keys: controlKeys(dataDir),
    control: controlFolders(dataDir),
    log: { level: 'info' },
  });

beforeAll(async () => {
  console.log(`SEED=${random.seed}`);
  database = await freshDatabase();
  dataDir = await mkdtemp(join(tmpdir(), 'bulkhead-kills-'));
  door = openTenantDoor({ url: database.appUrl, poolMax: 4, onError: () => undefined });
  db = door.tenant(ACME);
  control = await startControl();
});
afterAll(async () => {
  await control.stop();
  await door.close();
  await database.drop();
  await rm(dataDir, { recursive: true });
});

const order = (what: LifecycleOrder): Promise<unknown> =>
  requestLifecycle(db, { order: what, actor: 'operator:t', reason: 'test', ulid: newUlid(Date.now()) });

/** Kills the control process a moment after the step has begun, and starts another. */
async function killIn(step: LifecycleStep): Promise<void> {
  for (const until = Date.now() + 60_000; ; await sleep(2)) {
    const lifecycle = await latestLifecycle(db);
    if (lifecycle?.steps.some(({ name }) => name === step)) break;
    if (Date.now() > until) throw new Error(`${step} never began`);
  }
  await sleep(random.below(30));
  await control.kill();
  control = await startControl();
}

const ends = (state: string, status: string): Promise<void> =>
  vi.waitFor(
    async () => {
      expect(await latestLifecycle(db)).toMatchObject({ state });
      expect(await getTenant(db)).toMatchObject({ status });
    },
    { timeout: 90_000, interval: 50 },
  );
/** Generations of the tenant's token key that open something. */
const liveKeys = (): Promise<unknown[]> =>
  database.asOwner("SELECT 1 FROM token_keys WHERE tenant_id = $1 AND state <> 'dropped'", [ACME]);
const tokens = (): Promise<string[]> => readdir(join(dataDir, 'tokens', 'api'));

it('whatever is done to a tenant ends the same when the control process is killed in the middle of it', async () => {
  const { master } = inject('servers').keys;
  const keyRing = createKeyRing({ masterKeyPath: master, loadTenantKey: async () => undefined });
  await createTenant(db, keyRing, { name: 'Acme' });
  await killIn(random.pick(LIFECYCLE_STEPS.provision));
  await ends('completed', 'active');
  expect(await liveKeys()).toHaveLength(1);
  expect(await tokens()).toContain(`${ACME}.read.jwt`);

  await order({ kind: 'suspend' });
  await killIn(random.pick(LIFECYCLE_STEPS.suspend));
  await ends('completed', 'suspended');
  expect(await liveKeys()).toEqual([]);
  expect(await tokens()).not.toContain(`${ACME}.read.jwt`);

  await order({ kind: 'resume' });
  await killIn(random.pick(LIFECYCLE_STEPS.resume));
  await ends('completed', 'active');
  expect(await liveKeys()).toHaveLength(1);

  await order({ kind: 'offboard', graceSeconds: 3_600 });
  await killIn(random.pick(LIFECYCLE_STEPS.offboard));
  await order({ kind: 'reinstate' });
  await ends('reinstated', 'active');
  expect(await liveKeys()).toHaveLength(1);

  await order({ kind: 'offboard', graceSeconds: 0 });
  await killIn(random.pick(AFTER_GRACE.erase));
  await ends('completed', 'offboarded');
  expect(await liveKeys()).toEqual([]);
  expect(await database.asOwner('SELECT state FROM tenant_keys WHERE tenant_id = $1', [ACME])).toEqual([
    { state: 'destroyed' },
  ]);
  for (const table of ['workspaces', 'policies', 'journal_records', 'journal_heads'])
    expect(await database.asOwner(`SELECT 1 FROM ${table} WHERE tenant_id = $1`, [ACME]), table).toEqual([]);
}, 400_000);
