import { z } from 'zod';
import { depthExceeds } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';

/** A declaration is shown whole to whoever lists tools, and compiled by every host. */
const SPEC_BYTES_MAX = 131_072;
const SPEC_DEPTH_MAX = 32;

/** A tool's declaration before it is read as one: bounded, and an object. */
export const SpecInput = z.custom<Json>(
  (spec) =>
    typeof spec === 'object' &&
    spec !== null &&
    !Array.isArray(spec) &&
    !depthExceeds(spec as Json, SPEC_DEPTH_MAX) &&
    Buffer.byteLength(JSON.stringify(spec)) <= SPEC_BYTES_MAX,
  `must be an object of at most ${SPEC_BYTES_MAX} bytes and ${SPEC_DEPTH_MAX} levels`,
);

export const PinInput = z.string().regex(/^[0-9a-f]{64}$/, 'must be the pin of the offer that you have seen');
