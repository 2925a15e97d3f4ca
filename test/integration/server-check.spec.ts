import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { tenantId } from '@bulkhead/contract';
import { createServerCheck } from '@bulkhead/runtime/server-check';
import { createTokenMinter } from '@bulkhead/runtime/tokens';
import { controlFolders, controlKeys } from '../support/control-keys.js';
import { freshDatabase } from '../support/database.js';
import type { TestDatabase } from '../support/database.js';
import { startFrontDoor, STATUS } from '../support/open-temporal.js';
import { startMain } from '../support/processes.js';

/** Real: the Temporal server that refuses, the control process. Fake: the front doors that let strangers in. */
const FOREIGN = 'token-of-another-namespace';
const warned: string[] = [];
const log = { warn: (_fields: object, message: string) => void warned.push(message) };
const check = (address: string, allowOpen = false, foreignToken = () => FOREIGN) =>
  createServerCheck({ address, allowOpen, foreignToken, log });

const doors: { stop(): Promise<void> }[] = [];
async function frontDoor(statusOf: (token: string | undefined) => number): Promise<string> {
  const door = await startFrontDoor(statusOf);
  doors.push(door);
  return door.address;
}
afterEach(async () => {
  for (const door of doors.splice(0)) await door.stop();
  warned.length = 0;
});

describe('a Temporal server', () => {
  it('with an authorizer refuses strangers', async () => {
    const { temporal, keys } = inject('servers');
    const minter = createTokenMinter({ signingKeyPath: keys.temporalSigning, ttlSeconds: 60 });
    const server = check(temporal.address, false, () => minter.tenant(tenantId('somebody'), 'write'));
    expect(() => server.assertChecked()).toThrow(expect.objectContaining({ code: 'TEMPORAL_UNAVAILABLE' }));
    expect(await server.checkOnce()).toBe('refuses');
    server.assertChecked();
  });

  it.each<[string, (token: string | undefined) => number]>([
    ['a call without a token', (token) => (token === undefined ? STATUS.ok : STATUS.permissionDenied)],
    [
      'a token that nobody signed',
      (token) => (token !== undefined && token !== FOREIGN ? STATUS.ok : STATUS.permissionDenied),
    ],
    ['a token of another namespace', (token) => (token === FOREIGN ? STATUS.ok : STATUS.permissionDenied)],
    ['a call without a token', () => STATUS.notFound],
  ])('that lets in %s is refused', async (who, statusOf) => {
    const server = check(await frontDoor(statusOf));
    await expect(server.checkOnce()).rejects.toMatchObject({
      code: 'TEMPORAL_UNPROTECTED',
      message: expect.stringContaining(who) as string,
    });
    expect(() => server.assertChecked()).toThrow('has not shown');
  });

  it('that is away, or answers neither yes nor no, is not trusted yet', async () => {
    const unclear = await frontDoor(() => STATUS.internal);
    for (const address of [unclear, '127.0.0.1:1']) {
      const server = check(address);
      expect(await server.checkOnce()).toBe('away');
      expect(() => server.assertChecked()).toThrow('has not shown');
    }
  });

  it('that lets strangers in can be allowed, with a warning', async () => {
    const server = check(await frontDoor(() => STATUS.ok), true);
    expect(await server.checkOnce()).toBe('open');
    server.assertChecked();
    expect(warned).toEqual([expect.stringContaining('for development only')]);
  });
});

describe('the control process', () => {
  let database: TestDatabase;
  let dataDir: string;
  beforeAll(async () => {
    database = await freshDatabase();
    dataDir = await mkdtemp(join(tmpdir(), 'bulkhead-check-'));
  });
  afterAll(async () => {
    await database.drop();
    await rm(dataDir, { recursive: true });
  });
  const start = (address: string, enforcesTokens: boolean) => {
    return startMain('control', dataDir, {
      role: 'control',
      database: { url: database.controlUrl, poolMax: 4 },
      temporal: { address, enforcesTokens, tokensDir: join(dataDir, 'tokens') },
      keys: { ...controlKeys(dataDir), temporalJwks: join(dataDir, 'keys.json') },
      control: controlFolders(dataDir),
      log: { level: 'info' },
    });
  };

  it('does not start against a server that lets strangers in, unless that is allowed', async () => {
    const address = await frontDoor(() => STATUS.ok);
    await expect(start(address, true)).rejects.toThrow('control ended with 70');
    const allowed = await start(address, false);
    expect(await readFile(allowed.logFile, 'utf8')).toContain('namespaces are no fence there');
    await allowed.kill();
  });

  it('ends when the server turns out to be an open one after the start', async () => {
    const held = await startFrontDoor(() => STATUS.internal);
    const control = await start(held.address, true);
    const ended = control.ended;
    await held.stop();
    const open = await startFrontDoor(() => STATUS.ok, Number(held.address.split(':')[1]));
    doors.push(open);
    expect(await ended).toBe(70);
  });
});
