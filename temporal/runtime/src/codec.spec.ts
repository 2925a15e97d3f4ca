import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApplicationFailure, defaultPayloadConverter } from '@temporalio/common';
import type { Payload, PayloadCodec } from '@temporalio/common';
import { encodeErrorToFailure } from '@temporalio/common/lib/internal-non-workflow/index.js';
import { tenantId } from '@bulkhead/contract';
import type { Json, TenantId } from '@bulkhead/contract';
import {
  converterOf,
  createCarrierCodec,
  createTenantCodec,
  openSealed,
  sealArgumentsWith,
  workerConverterOf,
} from './codec.js';
import { createKeyRing } from './keys/index.js';
import type { KeyRing, WrappedTenantKey } from './keys/index.js';

const ACME = tenantId('acme');
const GLOBEX = tenantId('globex');
const REFUSED = { code: 'PAYLOAD_REFUSED' };
let folder: string;
let keyRing: KeyRing;
const rows = new Map<TenantId, WrappedTenantKey[]>();
let acme: PayloadCodec;
let globex: PayloadCodec;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bulkhead-codec-'));
  const masterKeyPath = join(folder, 'master.key');
  writeFileSync(masterKeyPath, randomBytes(32).toString('base64'), { mode: 0o600 });
  keyRing = createKeyRing({
    masterKeyPath,
    loadTenantKey: async (id, keyId) =>
      keyId === undefined ? rows.get(id)?.at(-1) : rows.get(id)?.find((row) => row.keyId === keyId),
  });
  for (const id of [ACME, GLOBEX]) rows.set(id, [keyRing.newTenantKey(id)]);
  acme = createTenantCodec(ACME, keyRing);
  globex = createTenantCodec(GLOBEX, keyRing);
});
afterAll(() => rmSync(folder, { recursive: true }));

const plain = (value: unknown): Payload => defaultPayloadConverter.toPayload(value);
const sealOne = async (value: unknown): Promise<Payload> => (await acme.encode([plain(value)]))[0]!;
const text = (payload: Payload, name: string): string =>
  Buffer.from(payload.metadata?.[name] ?? []).toString();
const changed = (payload: Payload, metadata: Record<string, string>): Payload => ({
  ...payload,
  metadata: {
    ...payload.metadata,
    ...Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, Buffer.from(value)])),
  },
});

describe('the codec of a tenant', () => {
  it('opens every value that it sealed to the same value', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.jsonValue(), { maxLength: 5 }), async (values) => {
        const opened = await acme.decode(await acme.encode(values.map(plain)));
        expect(opened.map((payload) => defaultPayloadConverter.fromPayload(payload))).toEqual(
          JSON.parse(JSON.stringify(values)),
        );
      }),
    );
    const [nothing] = await acme.decode([await sealOne(undefined)]);
    expect(defaultPayloadConverter.fromPayload(nothing!)).toBeUndefined();
  });

  it('refuses nothing for good because this process has another master key', async () => {
    const masterKeyPath = join(folder, 'other.key');
    writeFileSync(masterKeyPath, randomBytes(32).toString('base64'), { mode: 0o600 });
    const other = createKeyRing({ masterKeyPath, loadTenantKey: async (id) => rows.get(id)?.at(-1) });
    await expect(createTenantCodec(ACME, other).decode([await sealOne('x')])).rejects.toMatchObject({
      code: 'KEY_UNAVAILABLE',
    });
  });

  it('opens for a Worker each payload once, however often it is looked at, and a copy of it anew', async () => {
    let opened = 0;
    const counting: PayloadCodec = {
      encode: async (payloads) => payloads,
      decode: async (payloads) => ((opened += payloads.length), payloads),
    };
    const [codec] = workerConverterOf(counting).payloadCodecs;
    const payloads = [await sealOne('x'), await sealOne('y')];
    expect(await codec?.decode(payloads)).toEqual(payloads);
    expect(await codec?.decode(payloads)).toEqual(payloads);
    expect(opened).toBe(2);
    await codec?.decode([{ ...payloads[0] }]);
    expect(opened).toBe(3);
  });

  it('leaves nothing readable but encoding, key id and tenant, and never the same text twice', async () => {
    const payload = await sealOne({ canary: 'the customer is ill' });
    expect(Object.keys(payload.metadata ?? {}).toSorted()).toEqual(['encoding', 'key-id', 'tenant']);
    expect(text(payload, 'encoding')).toBe('binary/encrypted');
    expect(text(payload, 'key-id')).toBe(rows.get(ACME)?.[0]?.keyId);
    expect(text(payload, 'tenant')).toBe('acme');
    expect(Buffer.from(payload.data ?? []).includes('canary')).toBe(false);
    expect(payload.data).not.toEqual((await sealOne({ canary: 'the customer is ill' })).data);
  });

  it('attack: one bit of the text flipped, or any of the text cut off', async () => {
    const payload = await sealOne({ amount: 100 });
    const data = Buffer.from(payload.data ?? []);
    await fc.assert(
      fc.asyncProperty(fc.nat(data.length * 8 - 1), async (bit) => {
        const flipped = Buffer.from(data);
        flipped[bit >> 3]! ^= 1 << (bit & 7);
        await expect(acme.decode([{ ...payload, data: flipped }])).rejects.toMatchObject(REFUSED);
      }),
      { numRuns: 500 },
    );
    for (let length = 0; length < data.length; length += 1)
      await expect(acme.decode([{ ...payload, data: data.subarray(0, length) }])).rejects.toMatchObject(
        REFUSED,
      );
  });

  it('attack: a payload of another tenant, also when its metadata say it is our own, or name our key', async () => {
    const payload = await sealOne('x');
    const ours = { tenant: 'globex', 'key-id': rows.get(GLOBEX)?.[0]?.keyId ?? '' };
    await expect(globex.decode([payload])).rejects.toMatchObject(REFUSED);
    await expect(globex.decode([changed(payload, { tenant: 'globex' })])).rejects.toMatchObject(REFUSED);
    await expect(globex.decode([changed(payload, ours)])).rejects.toMatchObject(REFUSED);
    await expect(acme.decode([changed(payload, { tenant: 'globex' })])).rejects.toMatchObject(REFUSED);
    expect(await acme.decode([payload])).toHaveLength(1);
  });

  it('attack: a key id that is none of ours is refused before the database is asked: it could not hold the text', async () => {
    const payload = await sealOne('x');
    const asking = createTenantCodec(ACME, {
      ...keyRing,
      openParts: () => Promise.reject(new TypeError('invalid byte sequence for encoding "UTF8": 0x00')),
    });
    const bad = ['a\0b', '', '\ud83d', `${text(payload, 'key-id')}\0`, text(payload, 'key-id').toUpperCase()];
    for (const keyId of [...bad, 'k'.repeat(100_000)])
      await expect(asking.decode([changed(payload, { 'key-id': keyId })])).rejects.toMatchObject(REFUSED);
    await expect(asking.decode([payload])).rejects.toBeInstanceOf(TypeError);
  });

  it('attack: a plaintext, an unknown encoding, no metadata, an unknown or swapped key id', async () => {
    const payload = await sealOne('x');
    const foreignKey = { 'key-id': rows.get(GLOBEX)?.[0]?.keyId ?? '' };
    const forged = [plain({ kind: 'ok' }), {}, { data: payload.data ?? null }, plain(undefined)];
    const swapped = [{ encoding: 'json/plain' }, { 'key-id': 'none' }, foreignKey];
    for (const bad of [...forged, ...swapped.map((metadata) => changed(payload, metadata))])
      await expect(acme.decode([payload, bad])).rejects.toMatchObject(REFUSED);
  });

  it('opens what an earlier key sealed after a new one became active', async () => {
    const before = await sealOne('old');
    rows.get(ACME)?.push(keyRing.newTenantKey(ACME));
    keyRing.forget(ACME);
    const after = await sealOne('new');
    expect(text(after, 'key-id')).not.toBe(text(before, 'key-id'));
    const opened = await acme.decode([before, after]);
    expect(opened.map((payload) => defaultPayloadConverter.fromPayload(payload))).toEqual(['old', 'new']);
  });

  it('a summary of the longest tool id stays below the 400 bytes that the server takes', async () => {
    const longest = createTenantCodec(tenantId('a'.repeat(32)), {
      ...keyRing,
      sealParts: (_, purpose, bytes) => keyRing.sealParts(ACME, purpose, bytes),
    });
    const [payload] = await longest.encode([plain(`approval ${'t'.repeat(120)}`)]);
    const size = Object.entries(payload!.metadata ?? {}).reduce(
      (sum, [name, value]) => sum + name.length + value.length + 8,
      payload!.data!.length + 8,
    );
    expect(size).toBeLessThan(400);
  });

  it('with the failure converter seals message, stack and details of a failure and of its causes', async () => {
    const cause = ApplicationFailure.create({ message: 'canary-cause', details: [{ canary: 'detail' }] });
    const error = ApplicationFailure.create({ message: 'canary-message', type: 'INTERNAL', cause });
    error.stack = 'Error: canary-message\n    at canary-stack.ts:1:1';
    const failure = await encodeErrorToFailure(converterOf(acme), error);
    const stored = JSON.stringify(failure, (_, value: unknown) =>
      value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value,
    );
    expect(stored).not.toContain('canary');
    expect(failure).toMatchObject({
      message: 'Encoded failure',
      applicationFailureInfo: { type: 'INTERNAL' },
    });
  });
});

describe('whoever carries payloads without a key', () => {
  const carrier = createCarrierCodec(ACME);
  const carried = async (values: readonly Json[]): Promise<Payload[]> =>
    carrier.encode((await sealArgumentsWith(keyRing)(ACME, values)).map(plain));

  it('hands on what the API sealed, byte for byte, and brings back what the API opens', async () => {
    const opened = await acme.decode(await carried([{ input: 1 }, 'two']));
    expect(opened.map((payload) => defaultPayloadConverter.fromPayload(payload))).toEqual([
      { input: 1 },
      'two',
    ]);
    const [result] = await carrier.decode([await sealOne({ done: true })]);
    const stored: unknown = defaultPayloadConverter.fromPayload(result!);
    expect(await openSealed(keyRing, ACME, JSON.parse(JSON.stringify(stored)))).toEqual({ done: true });
    const [empty] = await carrier.decode([await sealOne(undefined)]);
    expect(await openSealed(keyRing, ACME, defaultPayloadConverter.fromPayload(empty!))).toBeNull();
  });

  it('attack: a plaintext or another tenant’s value is neither sent, stored nor opened', async () => {
    const [foreign] = await sealArgumentsWith(keyRing)(GLOBEX, ['x']);
    for (const value of [{ input: 1 }, null, 'x', foreign, { ...foreign, tenant: 'acme' }]) {
      const sent = carrier.encode([plain(value)]).then((payloads) => acme.decode(payloads));
      await expect(sent).rejects.toMatchObject(REFUSED);
      await expect(openSealed(keyRing, ACME, value)).rejects.toMatchObject(REFUSED);
    }
    await expect(carrier.decode([plain({ done: true })])).rejects.toMatchObject(REFUSED);
    await expect(carrier.decode([(await globex.encode([plain('x')]))[0]!])).rejects.toMatchObject(REFUSED);
  });
});
