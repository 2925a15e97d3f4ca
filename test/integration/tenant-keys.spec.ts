import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it, vi } from 'vitest';
import { tenantId } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import { openControlDoor } from '@bulkhead/prisma/control';
import type { ControlDb } from '@bulkhead/prisma/control';
import { openTenantDoor, tenantKeys } from '@bulkhead/prisma/tenant';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import { openSealed, sealArgumentsWith } from '@bulkhead/runtime/codec';
import { createKeyRing } from '@bulkhead/runtime/keys';
import type { KeyRing } from '@bulkhead/runtime/keys';
import { createTenant, getTenant, listTenantKeys, rotateTenantKey } from '@bulkhead/tenancy/admin';
import { destroyTenantKeys } from '@bulkhead/tenancy/control';
import { freshDatabase } from '../support/database.js';
import type { TestDatabase } from '../support/database.js';

/** A tenant's keys on the real database, through both doors. */
const GLOBEX = tenantId('globex');
const ORDER = { actor: 'key:admin', reason: 'test' };
let database: TestDatabase;
let door: TenantDoor;
let control: ControlDb;
let clockMs = 0;
let acme: TenantId;
let tenants = 0;

/** A process of its own: what one remembers the other does not. */
const newRing = (): KeyRing =>
  createKeyRing({
    masterKeyPath: inject('servers').keys.master,
    loadTenantKey: tenantKeys(door),
    nowMs: () => clockMs,
  });
const seal = async (ring: KeyRing, id: TenantId) => (await sealArgumentsWith(ring)(id, ['hello']))[0];
const changes = (id: TenantId): Promise<{ body: object }[]> =>
  database.asOwner(
    "SELECT body FROM journal_records WHERE tenant_id = $1 AND body->>'change' LIKE 'tenant_key%' ORDER BY id",
    [id],
  );

beforeAll(async () => {
  database = await freshDatabase();
  const onError = (): void => undefined; // a broken call throws itself
  door = openTenantDoor({ url: database.appUrl, poolMax: 8, onError });
  control = openControlDoor({ url: database.controlUrl, poolMax: 2, onError });
  await createTenant(door.tenant(GLOBEX), newRing(), { name: 'globex' });
});
beforeEach(async () => {
  acme = tenantId(`acme-${(tenants += 1)}`);
  await createTenant(door.tenant(acme), newRing(), { name: acme });
});
afterAll(async () => {
  await door.close();
  await control.close();
  await database.drop();
});

describe('a key that is rotated', () => {
  it('seals nothing more and opens what it sealed, also in a process that had it in memory', async () => {
    const [here, elsewhere] = [newRing(), newRing()];
    const before = await seal(here, acme);
    await seal(elsewhere, acme);
    const { keyId, retired } = await rotateTenantKey(door.tenant(acme), here, ORDER);
    expect(before?.keyId).toBe(retired);
    here.forget(acme);
    clockMs += 10_001;
    for (const ring of [here, elsewhere]) {
      expect((await seal(ring, acme))?.keyId).toBe(keyId);
      expect(await openSealed(ring, acme, before)).toBe('hello');
    }
    expect(await changes(acme)).toEqual([
      { body: { change: 'tenant_key_rotated', from: retired, to: keyId, ...ORDER } },
    ]);
  });

  it('leaves one active key, however many rotate at once', async () => {
    const ring = newRing();
    await Promise.all(Array.from({ length: 8 }, () => rotateTenantKey(door.tenant(acme), ring, ORDER)));
    const states = (await listTenantKeys(door.tenant(acme))).map(({ state }) => state);
    expect(states.filter((state) => state === 'active')).toHaveLength(1);
    expect(states).toHaveLength(9);
  });
});

describe('keys that are destroyed', () => {
  it('open nothing from the commit on, whichever sealed it; other tenants notice nothing', async () => {
    const ring = newRing();
    const first = await seal(ring, acme);
    await rotateTenantKey(door.tenant(acme), ring, ORDER);
    ring.forget(acme);
    const second = await seal(ring, acme);
    const foreign = await seal(ring, GLOBEX);
    expect(await destroyTenantKeys(control, acme, ORDER)).toEqual({ destroyed: 2 });

    const gone = { code: 'KEY_DESTROYED' };
    for (const sealed of [first, second])
      await expect(openSealed(newRing(), acme, sealed)).rejects.toMatchObject(gone);
    await expect(seal(newRing(), acme)).rejects.toMatchObject(gone);
    ring.forget(acme);
    await expect(openSealed(ring, acme, first)).rejects.toMatchObject(gone);
    expect(await openSealed(newRing(), GLOBEX, foreign)).toBe('hello');
  });

  it('are of no use after ten seconds to a process that had them in memory', async () => {
    const ring = newRing();
    const sealed = await seal(ring, acme);
    await openSealed(ring, acme, sealed);
    await destroyTenantKeys(control, acme, ORDER);
    clockMs += 10_001;
    await expect(openSealed(ring, acme, sealed)).rejects.toMatchObject({ code: 'KEY_DESTROYED' });
    await expect(seal(ring, acme)).rejects.toMatchObject({ code: 'KEY_DESTROYED' });
  });

  it('leave no byte in the row, one record in the journal, and no way back', async () => {
    await destroyTenantKeys(control, acme, ORDER);
    expect(await destroyTenantKeys(control, acme, ORDER)).toEqual({ destroyed: 0 });
    expect(
      await database.asOwner('SELECT state, length(wrapped) AS bytes FROM tenant_keys WHERE tenant_id = $1', [
        acme,
      ]),
    ).toEqual([{ state: 'destroyed', bytes: 0 }]);
    expect(await changes(acme)).toEqual([{ body: { change: 'tenant_keys_destroyed', keys: 1, ...ORDER } }]);
    await expect(rotateTenantKey(door.tenant(acme), newRing(), ORDER)).rejects.toMatchObject({
      code: 'KEY_DESTROYED',
    });
  });
});

describe('a host that cannot use the key', () => {
  const told = (host: string, lost: boolean) => door.tenant(acme).call('key_outage', { host, lost });
  const since = async (id: TenantId) => (await getTenant(door.tenant(id))).keyUnavailableSince;

  it('is shown to its tenant for as long as it says so and lives; each change is told once', async () => {
    const [one, two] = [`one-${acme}`, `two-${acme}`];
    for (const host of [one, two]) await door.host('host_register', host);
    await told(one, true);
    await told(one, true);
    await told(two, true);
    expect(await since(acme)).toBeInstanceOf(Date);
    expect(await since(GLOBEX)).toBeNull();
    await told(one, false);
    expect(await since(acme)).toBeInstanceOf(Date);
    await database.asOwner('UPDATE hosts SET fenced = true WHERE id = $1', [two]);
    expect(await since(acme)).toBeNull();
    const [lost, back] = [{ change: 'tenant_key_unavailable' }, { change: 'tenant_key_available' }];
    expect((await changes(acme)).map(({ body }) => body)).toEqual([
      { ...lost, host: one },
      { ...lost, host: two },
      { ...back, host: one },
    ]);
  });
});

describe('a rotation and an erasure at the same time', () => {
  /** A transaction that has the tenant's lock and waits to be told what to do. */
  const open: pg.Client[] = [];
  afterEach(() => Promise.all(open.splice(0).map((client) => client.end())));
  const locked = async (): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: database.ownerUrl });
    await client.connect();
    open.push(client);
    await client.query('BEGIN');
    await client.query('SELECT pg_advisory_xact_lock(2, hashtext($1))', [acme]);
    return client;
  };
  const waiting = (count: number): Promise<void> =>
    vi.waitFor(
      async () => {
        const rows = await database.asOwner(
          `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
        );
        expect(rows).toHaveLength(count);
      },
      { timeout: 5_000, interval: 10 },
    );
  const alive = (): Promise<object[]> =>
    database.asOwner("SELECT key_id FROM tenant_keys WHERE tenant_id = $1 AND state <> 'destroyed'", [acme]);

  it('leave no key alive when the rotation commits in the middle of the erasure', async () => {
    const rotation = await locked();
    await rotation.query("UPDATE tenant_keys SET state = 'retired' WHERE tenant_id = $1", [acme]);
    await rotation.query("INSERT INTO tenant_keys (tenant_id, key_id, wrapped) VALUES ($1, 'next', 'x')", [
      acme,
    ]);
    const erased = destroyTenantKeys(control, acme, ORDER);
    await waiting(1);
    await rotation.query('COMMIT');
    expect(await erased).toEqual({ destroyed: 2 });
    expect(await alive()).toEqual([]);
  });

  const erase = (): Promise<unknown> => destroyTenantKeys(control, acme, ORDER);
  const rotate = (): Promise<unknown> =>
    rotateTenantKey(door.tenant(acme), newRing(), ORDER).then(
      () => 'rotated',
      (error: { code?: string }) => error.code,
    );

  it.each([
    ['the erasure', [erase, rotate], [{ destroyed: 1 }, 'KEY_DESTROYED']],
    ['the rotation', [rotate, erase], ['rotated', { destroyed: 2 }]],
  ])('leave no key alive when %s comes first', async (_, order, expected) => {
    const gate = await locked();
    const answers: Promise<unknown>[] = [];
    for (const [place, work] of order.entries()) {
      answers.push(work());
      await waiting(place + 1);
    }
    await gate.query('COMMIT');
    expect(await Promise.all(answers)).toEqual(expected);
    expect(await alive()).toEqual([]);
  });

  it.each(['erasing', 'offboarded'])('no key is made for a tenant that is %s', async (status) => {
    await database.asOwner('UPDATE tenants SET status = $2 WHERE id = $1', [acme, status]);
    const before = await alive();
    await expect(rotateTenantKey(door.tenant(acme), newRing(), ORDER)).rejects.toMatchObject({
      code: 'KEY_DESTROYED',
    });
    expect(await alive()).toEqual(before);
  });
});

describe('attack: whoever holds', () => {
  it.each([
    ['puts other bytes into a key', "UPDATE tenant_keys SET wrapped = 'x'"],
    ['declares a key destroyed and keeps its bytes', "UPDATE tenant_keys SET state = 'destroyed'"],
    ['invents a state', "UPDATE tenant_keys SET state = 'sleeping'"],
    ['deletes a key', 'DELETE FROM tenant_keys'],
  ])('the tenant door %s', async (_what, sql) => {
    await expect(door.tenant(acme).run((tx) => tx.$executeRawUnsafe(sql))).rejects.toThrow(
      /denied|check constraint/,
    );
  });

  it('the tenant door wakes a destroyed key', async () => {
    await destroyTenantKeys(control, acme, ORDER);
    const waking = door
      .tenant(acme)
      .run((tx) => tx.$executeRawUnsafe("UPDATE tenant_keys SET state = 'active'"));
    await expect(waking).rejects.toThrow(/check constraint/);
  });

  it.each([
    ['reads a key', 'SELECT wrapped FROM tenant_keys'],
    ['makes a key', "INSERT INTO tenant_keys (tenant_id, key_id, wrapped) VALUES ('globex', 'mine', 'x')"],
    ['returns what it erases', "UPDATE tenant_keys SET state = 'retired' RETURNING wrapped"],
  ])('the control door %s', async (_what, sql) => {
    await expect(control.query(sql)).rejects.toThrow(/permission denied/);
  });
});
