import type { Payload } from '@temporalio/common';
import { defaultPayloadConverter } from '@temporalio/common';
import type { TenantId } from '@bulkhead/contract';
import { createTenantCodec } from '@bulkhead/runtime/codec';
import { field } from './api.js';
import type { TestApi } from './api.js';
import { signIn } from './sign-in.js';

/** What Temporal UI and the CLI send to the codec server: protobuf's JSON form. */
export interface WirePayload {
  readonly metadata: Record<string, string>;
  readonly data: string;
}

/** A value as it stands in a history of the tenant. */
export async function sealedFor(api: TestApi, tenant: TenantId, value: unknown): Promise<WirePayload> {
  const codec = createTenantCodec(tenant, api.keyRing);
  const [payload] = await codec.encode([defaultPayloadConverter.toPayload(value)]);
  return wireOf(payload ?? {});
}

export const wireOf = ({ metadata, data }: Payload): WirePayload => ({
  metadata: Object.fromEntries(
    Object.entries(metadata ?? {}).map(([name, bytes]) => [name, Buffer.from(bytes).toString('base64')]),
  ),
  data: Buffer.from(data ?? []).toString('base64'),
});

export interface Decoded {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

export async function decode(
  api: TestApi,
  headers: Record<string, string>,
  payloads: readonly WirePayload[],
): Promise<Decoded> {
  const answer = await fetch(`${api.url}/codec/decode?preserveStorageRefs=true`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ payloads }),
  });
  return { status: answer.status, headers: answer.headers, text: await answer.text() };
}

/** Signs in as a person would, and returns the cookie that a browser sends to the codec. */
export async function sessionCookie(api: TestApi, key: string): Promise<string> {
  const { url } = field<{ url: string }>(
    await api.ask(key, 'mutation { createSignInLink { url } }'),
    'createSignInLink',
  );
  const answer = await signIn(api.url, url);
  const cookie = answer.headers.getSetCookie().find((given) => given.includes('Path=/codec'));
  return cookie?.split(';')[0] ?? '';
}
