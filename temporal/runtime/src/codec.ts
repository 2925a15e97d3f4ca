import { fileURLToPath } from 'node:url';
import proto from '@temporalio/proto';
import { defaultPayloadConverter } from '@temporalio/common';
import type { LoadedDataConverter, Payload, PayloadCodec } from '@temporalio/common';
import { BulkheadError, sealedPayloadOf } from '@bulkhead/contract';
import type { Json, SealArguments, SealedPayload, TenantId } from '@bulkhead/contract';
import { failureConverter } from './failure-converter.js';
import { PURPOSES } from './keys/index.js';
import type { KeyRing } from './keys/index.js';

export type { Payload } from '@temporalio/common';

const { Payload: Wire } = proto.temporal.api.common.v1;
/** Metadata of a sealed payload: `encoding`, `key-id` and `tenant`. What is authenticated besides: tenant, purpose, key id. */
const ENCODING = 'binary/encrypted';
const KEY_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
type Parts = Pick<KeyRing, 'sealParts' | 'openParts'>;

/**
 * Seals each payload of one tenant (AES-256-GCM, the tenant authenticated) and opens only what that tenant's key sealed.
 * It holds for arguments, results, signals, queries, updates, memos, summaries, heartbeats and, with `failureConverter`,
 * messages and stacks. Headers are not encoded by the SDK: the envelope stays readable, is signed and holds no secret.
 * A plaintext is refused wherever it stands: the SDK hands a codec nothing that its peer did not encode.
 */
export function createTenantCodec(tenantId: TenantId, keyRing: Parts): PayloadCodec {
  return {
    encode: (payloads) => Promise.all(payloads.map((payload) => seal(keyRing, tenantId, payload))),
    decode: (payloads) => Promise.all(payloads.map((payload) => open(keyRing, tenantId, payload))),
  };
}

/**
 * For whoever carries payloads without being able to read them (the control process): values are sealed payloads in
 * their JSON form on this side and the payloads themselves on Temporal's. Anything else is refused in both directions.
 */
export function createCarrierCodec(tenantId: TenantId): PayloadCodec {
  return {
    encode: async (payloads) => payloads.map((payload) => toWire(tenantId, fromPayload(payload))),
    decode: async (payloads) => payloads.map((payload) => toPayload(toSealed(tenantId, payload))),
  };
}

/** What a client needs to speak with a tenant's workflows. */
export const converterOf = (codec: PayloadCodec): LoadedDataConverter => ({
  payloadConverter: defaultPayloadConverter,
  failureConverter,
  payloadCodecs: [codec],
});

/** What a Worker needs: it loads converters by path, so it takes the built module, from sources as well. */
export const workerConverterOf = (codec: PayloadCodec) => ({
  failureConverterPath: fileURLToPath(new URL('../dist/failure-converter.js', import.meta.url)),
  payloadCodecs: [openingOnce(codec)],
});

/** The Worker looks at what came to a workflow before the SDK decodes it: the same payload, opened once for both. */
function openingOnce(codec: PayloadCodec): PayloadCodec {
  const opened = new WeakMap<Payload, Promise<Payload[]>>();
  const open = async (payload: Payload): Promise<Payload> => {
    const opening = opened.get(payload) ?? codec.decode([payload]);
    opened.set(payload, opening);
    const [plain] = await opening;
    if (!plain) throw new BulkheadError('INTERNAL', { internal: 'the codec opened nothing' });
    return plain;
  };
  return {
    encode: (payloads, context) => codec.encode(payloads, context),
    decode: (payloads) => Promise.all(payloads.map(open)),
  };
}

/** Seals what a workflow is started or signalled with, for those who store it before it is sent. */
export function sealArgumentsWith(keyRing: Pick<KeyRing, 'sealParts'>): SealArguments {
  return (tenantId, args) =>
    Promise.all(
      args.map(async (value) => toSealed(tenantId, await seal(keyRing, tenantId, toPayload(value)))),
    );
}

/**
 * Opens a sealed payload that stands in a column.
 * @throws BulkheadError PAYLOAD_REFUSED when it is none of this tenant's, KEY_DESTROYED
 */
export async function openSealed(
  keyRing: Pick<KeyRing, 'openParts'>,
  tenantId: TenantId,
  value: unknown,
): Promise<Json> {
  const opened: unknown = fromPayload(await open(keyRing, tenantId, toWire(tenantId, value)));
  return (opened ?? null) as Json;
}

/**
 * For people: opens the sealed payloads of a history and leaves the others (headers, search attributes) as they came.
 * @throws BulkheadError PAYLOAD_REFUSED when one is not this tenant's or was changed, KEY_DESTROYED
 */
export function openHistoryPayloads(
  keyRing: Pick<KeyRing, 'openParts'>,
  tenantId: TenantId,
  payloads: readonly Payload[],
): Promise<Payload[]> {
  const isSealed = ({ metadata }: Payload): boolean =>
    Buffer.from(metadata?.['encoding'] ?? []).toString('utf8') === ENCODING;
  return Promise.all(
    payloads.map((payload) => (isSealed(payload) ? open(keyRing, tenantId, payload) : payload)),
  );
}

async function open(
  keyRing: Pick<KeyRing, 'openParts'>,
  tenantId: TenantId,
  payload: Payload,
): Promise<Payload> {
  const { keyId, data } = partsOf(tenantId, payload);
  // before anybody looks it up: a text that no column can hold would be an error of the database, and no verdict
  if (!KEY_ID.test(keyId)) throw refused(tenantId, 'names a key that is none');
  const plain = await keyRing
    .openParts(tenantId, PURPOSES.payload, { keyId, body: data })
    .catch((error: unknown) => {
      // unknown key, changed text, another tenant's: whoever holds the tenant's key did not seal it. That this process
      // cannot use the key (KEY_UNAVAILABLE) is no verdict
      if (error instanceof BulkheadError && error.code === 'SECRET_UNAVAILABLE')
        throw refused(tenantId, 'does not open', error);
      throw error;
    });
  return Wire.decode(plain);
}

async function seal(
  keyRing: Pick<KeyRing, 'sealParts'>,
  tenantId: TenantId,
  payload: Payload,
): Promise<Payload> {
  const plain = Wire.encode(payload).finish();
  const { keyId, body } = await keyRing.sealParts(tenantId, PURPOSES.payload, plain);
  return wireOf(tenantId, keyId, body);
}

const wireOf = (tenantId: TenantId, keyId: string, data: Uint8Array): Payload => ({
  metadata: { encoding: bytes(ENCODING), 'key-id': bytes(keyId), tenant: bytes(tenantId) },
  data,
});

function partsOf(tenantId: TenantId, { metadata, data }: Payload): { keyId: string; data: Uint8Array } {
  const text = (name: string): string => Buffer.from(metadata?.[name] ?? []).toString('utf8');
  if (text('encoding') !== ENCODING) throw refused(tenantId, 'is not sealed');
  if (text('tenant') !== tenantId) throw refused(tenantId, "is another tenant's");
  return { keyId: text('key-id'), data: data ?? new Uint8Array() };
}

function toSealed(tenantId: TenantId, payload: Payload): SealedPayload {
  const { keyId, data } = partsOf(tenantId, payload);
  return { sealed: 1, tenant: tenantId, keyId, data: Buffer.from(data).toString('base64') };
}

function toWire(tenantId: TenantId, value: unknown): Payload {
  const sealed = sealedPayloadOf(tenantId, value);
  if (!sealed) throw refused(tenantId, 'is not in its sealed form');
  return wireOf(tenantId, sealed.keyId, Buffer.from(sealed.data, 'base64'));
}

const bytes = (text: string): Uint8Array => Buffer.from(text, 'utf8');
const toPayload = (value: Json): Payload => defaultPayloadConverter.toPayload(value);
const fromPayload = (payload: Payload): unknown => defaultPayloadConverter.fromPayload(payload);
/** The text names no value: it may come to a log or into a failure. */
const refused = (tenantId: TenantId, why: string, cause?: unknown): BulkheadError =>
  new BulkheadError('PAYLOAD_REFUSED', { internal: `a payload of ${tenantId} ${why}`, cause });
