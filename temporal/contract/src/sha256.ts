/** The first 64 primes; the constants of SHA-256 are bits of their roots (FIPS 180-4, 4.2.2 and 5.3.3). */
const PRIMES = primes(64);
const fraction = (root: number): number => ((root - Math.floor(root)) * 2 ** 32) | 0;
const ROUNDS = Int32Array.from(PRIMES, (prime) => fraction(Math.cbrt(prime)));
const START = Int32Array.from(PRIMES.slice(0, 8), (prime) => fraction(Math.sqrt(prime)));

/** SHA-256 of a text's UTF-8, in lower-case hex: the workflow sandbox has no node:crypto. */
export function sha256Hex(text: string): string {
  const bytes = padded(new TextEncoder().encode(text));
  const state = Int32Array.from(START);
  const words = new Int32Array(64);
  for (let at = 0; at < bytes.byteLength; at += 64) mix(state, words, new DataView(bytes.buffer, at, 64));
  return Array.from(state, (word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
}

function padded(message: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(Math.ceil((message.length + 9) / 64) * 64);
  bytes.set(message);
  bytes[message.length] = 0x80;
  new DataView(bytes.buffer).setBigUint64(bytes.length - 8, BigInt(message.length) * 8n);
  return bytes;
}

const turn = (word: number, by: number): number => (word >>> by) | (word << (32 - by));

function mix(state: Int32Array, words: Int32Array, block: DataView): void {
  for (let i = 0; i < 64; i += 1) words[i] = i < 16 ? block.getInt32(i * 4) : extended(words, i);
  let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = state;
  for (let i = 0; i < 64; i += 1) {
    const sum1 = turn(e, 6) ^ turn(e, 11) ^ turn(e, 25);
    const one = (h + sum1 + ((e & f) ^ (~e & g)) + (ROUNDS[i] ?? 0) + (words[i] ?? 0)) | 0;
    const sum0 = turn(a, 2) ^ turn(a, 13) ^ turn(a, 22);
    const two = (sum0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + one) | 0;
    d = c;
    c = b;
    b = a;
    a = (one + two) | 0;
  }
  const mixed = [a, b, c, d, e, f, g, h];
  for (let i = 0; i < 8; i += 1) state[i] = ((state[i] ?? 0) + (mixed[i] ?? 0)) | 0;
}

function extended(words: Int32Array, i: number): number {
  const before = (by: number): number => words[i - by] ?? 0;
  const low = turn(before(15), 7) ^ turn(before(15), 18) ^ (before(15) >>> 3);
  const high = turn(before(2), 17) ^ turn(before(2), 19) ^ (before(2) >>> 10);
  return (before(16) + low + before(7) + high) | 0;
}

function primes(count: number): number[] {
  const found: number[] = [];
  for (let n = 2; found.length < count; n += 1) if (found.every((prime) => n % prime !== 0)) found.push(n);
  return found;
}
