import type { Readable } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate, createInflateRaw } from 'node:zlib';

/** Why there is no body: above the bound, broken off, or in an encoding that we do not read. */
export type NoBody = 'too_large' | 'broken' | 'encoding';

/**
 * The whole body, decoded: what is compressed must be looked into, or a credential in it would pass every scrub. At
 * most `bytesMax` after decoding, and never much more in memory, whatever the stream claims to unpack to.
 */
export async function bodyOf(
  stream: Readable,
  contentEncoding: string | undefined,
  bytesMax: number,
): Promise<Buffer | NoBody> {
  const encoding = (contentEncoding ?? 'identity').trim().toLowerCase();
  const raw = await collect(stream, bytesMax);
  if (typeof raw === 'string' || encoding === 'identity' || encoding === '' || raw.length === 0) return raw;
  const decoder = decoderOf(encoding, raw);
  if (!decoder) return 'encoding';
  decoder.end(raw);
  const decoded = await collect(decoder, bytesMax);
  return decoded === 'broken' ? 'encoding' : decoded;
}

async function collect(stream: Readable, bytesMax: number): Promise<Buffer | NoBody> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > bytesMax) return 'too_large';
      chunks.push(chunk);
    }
  } catch {
    return 'broken';
  }
  return Buffer.concat(chunks);
}

/** undefined: an encoding that we do not read, or several on top of each other. */
function decoderOf(encoding: string, raw: Buffer) {
  switch (encoding) {
    case 'gzip':
    case 'x-gzip':
      return createGunzip();
    case 'br':
      return createBrotliDecompress();
    case 'deflate':
      // servers send both: with zlib's two bytes in front, and without
      return ((raw[0] ?? 0) & 0x0f) === 8 ? createInflate() : createInflateRaw();
    default:
      return undefined;
  }
}
