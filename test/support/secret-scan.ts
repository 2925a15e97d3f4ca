import { createReadStream } from 'node:fs';

/** Looks for secrets in any text or bytes, in the encodings in which they tend to travel. */
export interface Hit {
  readonly secret: string;
  readonly form: string;
  readonly where: string;
}

/** Looks for many secrets at once; what it looks through need not fit into memory. */
export interface Scanner {
  /** Every hit in one text or buffer. */
  scan(where: string, content: Buffer | string): Hit[];
  /** The same over chunks, also across their borders. */
  stream(where: string, chunks: AsyncIterable<Buffer>): Promise<Hit[]>;
  file(path: string): Promise<Hit[]>;
  /** Bytes looked through so far. */
  bytes(): number;
}

/** A shorter secret has no half that could be told from ordinary text. */
const HALVES_FROM = 24;

/**
 * Named encodings of a secret; base64 at each of its three alignments, without the characters that depend on neighbours.
 * A secret that was split in two is found by its parts: of each encoding either half (`hex|1`), and each half encoded
 * (`hex/1`).
 */
export function formsOf(secret: string): [form: string, text: string][] {
  const whole = wholeForms(secret);
  if (secret.length < HALVES_FROM) return whole;
  const split = whole.flatMap(([form, text]) =>
    halves(text).map((half, i) => named(`${form}|${i + 1}`, half)),
  );
  const encoded = halves(secret).flatMap((half, i) =>
    wholeForms(half).map(([form, text]) => named(`${form}/${i + 1}`, text)),
  );
  return [...whole, ...split, ...encoded];
}

const named = (form: string, text: string): [string, string] => [form, text];

function halves(text: string): [string, string] {
  const middle = Math.ceil(text.length / 2);
  return [text.slice(0, middle), text.slice(middle)];
}

function wholeForms(secret: string): [form: string, text: string][] {
  const bytes = Buffer.from(secret, 'utf8');
  const base64 = [0, 1, 2].flatMap((shift): [string, string][] => {
    const text = Buffer.concat([Buffer.alloc(shift), bytes])
      .toString('base64')
      .replace(/=+$/, '');
    const inner = text.slice(shift === 0 ? 0 : 4, text.length - (text.length % 4 === 0 ? 0 : 1));
    return [
      [`base64+${shift}`, inner],
      [`base64url+${shift}`, inner.replaceAll('+', '-').replaceAll('/', '_')],
    ];
  });
  return [
    ['raw', secret],
    ['hex', bytes.toString('hex')],
    ['url', encodeURIComponent(secret)],
    ['url-all', [...bytes].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')],
    ['json', JSON.stringify(secret).slice(1, -1)],
    ['reversed', [...secret].toReversed().join('')],
    ...base64,
  ];
}

/** Hex and percent codes are written in both cases. */
function spellings(form: string, text: string): string[] {
  if (form.startsWith('hex')) return [text, text.toUpperCase()];
  if (!form.startsWith('url')) return [text];
  return [
    text.replaceAll(/%[0-9A-Fa-f]{0,2}/g, (code) => code.toLowerCase()),
    text.replaceAll(/%[0-9A-Fa-f]{0,2}/g, (code) => code.toUpperCase()),
  ];
}

interface Needle {
  readonly bytes: Buffer;
  readonly secret: string;
  readonly form: string;
}

/** Bits of the table that rules out nearly every place before a needle is compared. */
const TABLE_BITS = 22;
const KEY_BYTES = 4;
const slotOf = (key: number): number => Math.imul(key, 0x9e3779b1) >>> (32 - TABLE_BITS);

/** @throws Error when a form of a secret is too short to be looked for. */
export function createScanner(secrets: Readonly<Record<string, string>>): Scanner {
  const { needles, table, longest } = prepare(secrets);
  let bytes = 0;

  /** Adds to `found` what begins in the content; each secret and form once. */
  const search = (content: Buffer, where: string, found: Map<string, Hit>): void => {
    let key = 0;
    for (let at = 0; at < content.length; at += 1) {
      key = (key << 8) | content[at]!;
      if (at < KEY_BYTES - 1 || table[slotOf(key)] === 0) continue;
      const start = at - KEY_BYTES + 1;
      for (const { bytes: needle, secret, form } of needles.get(key) ?? []) {
        const end = start + needle.length;
        if (end > content.length || needle.compare(content, start, end) !== 0) continue;
        found.set(`${secret}\0${form}`, { secret, form, where });
      }
    }
  };
  const stream: Scanner['stream'] = async (where, chunks) => {
    const found = new Map<string, Hit>();
    let tail = Buffer.alloc(0);
    for await (const chunk of chunks) {
      bytes += chunk.length;
      const content = Buffer.concat([tail, chunk]);
      search(content, where, found);
      tail = content.subarray(Math.max(0, content.length - longest + 1));
    }
    return [...found.values()];
  };
  return {
    scan(where, content) {
      const found = new Map<string, Hit>();
      // as UTF-8, which leaves bytes below 0x80 as they are: a secret is ASCII
      const buffer = typeof content === 'string' ? Buffer.from(content, 'utf8') : content;
      bytes += buffer.length;
      search(buffer, where, found);
      return [...found.values()];
    },
    stream,
    file: (path) => stream(path, createReadStream(path, { highWaterMark: 1_048_576 })),
    bytes: () => bytes,
  };
}

function prepare(secrets: Readonly<Record<string, string>>): {
  needles: Map<number, Needle[]>;
  table: Uint8Array;
  longest: number;
} {
  const needles = new Map<number, Needle[]>();
  const table = new Uint8Array(2 ** TABLE_BITS);
  let longest = 1;
  for (const [secret, value] of Object.entries(secrets)) {
    for (const [form, text] of formsOf(value)) {
      for (const spelling of new Set(spellings(form, text))) {
        const bytes = Buffer.from(spelling, 'utf8');
        if (bytes.length < KEY_BYTES) throw new Error(`${secret} is too short to be looked for`);
        const key = bytes.readInt32BE(0);
        needles.set(key, [...(needles.get(key) ?? []), { bytes, secret, form }]);
        table[slotOf(key)] = 1;
        longest = Math.max(longest, bytes.length);
      }
    }
  }
  return { needles, table, longest };
}

/** Every hit of every secret in one text. */
export function scan(
  secrets: Readonly<Record<string, string>>,
  where: string,
  content: Buffer | string,
): Hit[] {
  return createScanner(secrets).scan(where, content);
}

/** A row's text with each bytea (`\x...`) also as the bytes that it holds. */
export function withBytes(row: string): Buffer {
  const bytes = [...row.matchAll(/\\x([0-9a-f]+)/g)].map(([, hex]) => Buffer.from(hex ?? '', 'hex'));
  return Buffer.concat([Buffer.from(row, 'utf8'), ...bytes.flatMap((part) => [Buffer.from('\n'), part])]);
}
