import { Readable } from 'node:stream';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { bodyOf } from './body.js';

const TEXT = JSON.stringify({ said: 'a sentence, '.repeat(200) });
/** In pieces of a few bytes, as a slow server sends it. */
const pieces = (bytes: Buffer): Readable =>
  Readable.from(
    Array.from({ length: Math.ceil(bytes.length / 7) }, (_, i) => bytes.subarray(i * 7, i * 7 + 7)),
  );

describe('the body of an answer', () => {
  it.each([
    ['identity', Buffer.from(TEXT)],
    ['gzip', gzipSync(TEXT)],
    ['x-gzip', gzipSync(TEXT)],
    ['deflate', deflateSync(TEXT)],
    ['deflate', deflateRawSync(TEXT)],
    ['br', brotliCompressSync(TEXT)],
    [' GZIP ', gzipSync(TEXT)],
  ])('is read through %s', async (encoding, bytes) => {
    expect(String(await bodyOf(pieces(bytes), encoding, 100_000))).toBe(TEXT);
  });

  it('attack: a few bytes that unpack to a gigabyte are given up at the bound', async () => {
    const bomb = gzipSync(Buffer.alloc(50_000_000));
    const before = process.memoryUsage().arrayBuffers;
    expect(await bodyOf(pieces(bomb), 'gzip', 65_536)).toBe('too_large');
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(20_000_000);
  });

  it('attack: an encoding that nobody looks through is not read', async () => {
    expect(await bodyOf(pieces(gzipSync(gzipSync(TEXT))), 'gzip, gzip', 100_000)).toBe('encoding');
    expect(await bodyOf(pieces(Buffer.from(TEXT)), 'zstd', 100_000)).toBe('encoding');
    expect(await bodyOf(pieces(Buffer.from(TEXT)), 'gzip', 100_000)).toBe('encoding');
  });
});
