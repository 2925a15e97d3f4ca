import { z } from 'zod';
import { BulkheadError } from '@bulkhead/contract';
import type { Payload } from '@bulkhead/runtime/codec';

/** Payloads of one request at most: a page of a history has some hundred. */
export const PAYLOADS_MAX = 2_000;

const Base64 = z.base64();
const WirePayload = z.object({
  metadata: z.record(z.string().max(100), Base64).nullish(),
  // protobuf's JSON leaves out what is empty
  data: Base64.nullish(),
});
/** Protobuf's JSON form of payloads, which Temporal UI and the CLI send and read; names that it may get later are ignored. */
const Request = z.object({ payloads: z.array(WirePayload).max(PAYLOADS_MAX) });

/** @throws BulkheadError BAD_INPUT that names the field, never a value. */
export function payloadsOf(body: unknown): Payload[] {
  const parsed = Request.safeParse(body);
  if (!parsed.success) {
    const field = parsed.error.issues[0]?.path.join('.') || 'payloads';
    throw new BulkheadError('BAD_INPUT', { field, publicMessage: `${field} is not valid.` });
  }
  return parsed.data.payloads.map(({ metadata, data }) => ({
    metadata: Object.fromEntries(
      Object.entries(metadata ?? {}).map(([name, text]) => [name, Buffer.from(text, 'base64')]),
    ),
    data: Buffer.from(data ?? '', 'base64'),
  }));
}

export function wireOf(payloads: readonly Payload[]): object {
  const text = (bytes: Uint8Array | null | undefined): string => Buffer.from(bytes ?? []).toString('base64');
  return {
    payloads: payloads.map(({ metadata, data }) => ({
      metadata: Object.fromEntries(
        Object.entries(metadata ?? {}).map(([name, bytes]) => [name, text(bytes)]),
      ),
      data: text(data),
    })),
  };
}
