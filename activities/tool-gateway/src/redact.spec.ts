import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRedactor } from './redact.js';

const SECRET = 'sk-live/9"+\\x=Q7';
const { text, json } = createRedactor(SECRET);

const ENCODINGS: readonly (readonly [string, (secret: string) => string])[] = [
  ['raw', (s) => s],
  ['in a bearer header', (s) => `Bearer ${s}`],
  ['base64', (s) => Buffer.from(s).toString('base64')],
  ['base64 of user:secret', (s) => Buffer.from(`user:${s}`).toString('base64')],
  ['base64 of ab:secret:c', (s) => Buffer.from(`ab:${s}:c`).toString('base64')],
  ['base64url of a:secret', (s) => Buffer.from(`a:${s}`).toString('base64url')],
  ['percent-encoded', (s) => encodeURIComponent(s)],
  ['percent-encoded in lower case', (s) => encodeURIComponent(s).replaceAll(/%../g, (c) => c.toLowerCase())],
  ['JSON in a text', (s) => JSON.stringify({ token: s })],
  ['hex', (s) => Buffer.from(s).toString('hex')],
  ['HEX', (s) => Buffer.from(s).toString('hex').toUpperCase()],
  ['percent-encoded twice', (s) => encodeURIComponent(encodeURIComponent(s))],
  ['JSON in JSON', (s) => JSON.stringify(JSON.stringify({ token: s }))],
  ['every character as \\u', (s) => [...s].map(unicode).join('')],
  ['some characters as \\u', (s) => [...s].map((c, i) => (i % 3 === 0 ? unicode(c) : c)).join('')],
  [
    'HTML',
    (s) =>
      s.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;'),
  ],
  ['reversed', (s) => [...s].toReversed().join('')],
  ['upper case', (s) => s.toUpperCase()],
  ['lower case', (s) => s.toLowerCase()],
  ['every character percent-encoded', (s) => [...s].map((c) => `%${hexOf(c)}`).join('')],
  [
    'some characters percent-encoded twice',
    (s) => [...s].map((c, i) => (i % 2 ? c : `%25${hexOf(c)}`)).join(''),
  ],
  ['every character as \\x', (s) => [...s].map((c) => `\\x${hexOf(c)}`).join('')],
  ['every character as \\u{}', (s) => [...s].map((c) => `\\u{${hexOf(c)}}`).join('')],
  ['every character as an HTML entity', (s) => [...s].map((c) => `&#${c.charCodeAt(0)};`).join('')],
  ['hexadecimal HTML entities', (s) => [...s].map((c) => `&#x${hexOf(c)};`).join('')],
  ['base64 in a URL', (s) => encodeURIComponent(Buffer.from(`u:${s}`).toString('base64'))],
  ['UTF-16 read as UTF-8', (s) => Buffer.from(s, 'utf16le').toString('utf8')],
  ['UTF-16 the other way round', (s) => Buffer.from(s, 'utf16le').swap16().toString('utf8')],
  ['base64 of UTF-16', (s) => Buffer.from(s, 'utf16le').toString('base64')],
  ['hex of UTF-16', (s) => Buffer.from(s, 'utf16le').toString('hex')],
];
const hexOf = (char: string): string => char.charCodeAt(0).toString(16).padStart(2, '0');
function unicode(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
/** What an attacker would look for: any decoding that gives the secret back. */
const leaks = (output: string, secret: string): boolean =>
  ENCODINGS.some(([name, encode]) => !name.startsWith('base64') && output.includes(encode(secret))) ||
  output.toLowerCase().includes(secret.toLowerCase()) ||
  [...output.matchAll(/[A-Za-z0-9+/_-]{8,}/g)].some(([run]) =>
    [0, 1, 2, 3].some((skip) => {
      const bytes = Buffer.from(run.slice(skip), 'base64');
      return bytes.includes(secret) || bytes.includes(Buffer.from(secret, 'utf16le'));
    }),
  );

describe('attack: a tool that echoes the credential it was given', () => {
  it.each(ENCODINGS)('does not get it through %s', (_, encode) => {
    const echoed = encode(SECRET);
    expect(leaks(echoed, SECRET)).toBe(true);
    expect(leaks(text(`before ${echoed} after`), SECRET)).toBe(false);
    expect(text(`before ${echoed} after`)).toMatch(/before .*after/);
  });

  it('removes it at any depth and from keys', () => {
    const cleaned = JSON.stringify(json({ a: [{ [SECRET]: { deep: [SECRET, 1, null, true] } }] }));
    expect(cleaned).toBe('{"a":[{"[redacted]":{"deep":["[redacted]",1,null,true]}}]}');
  });

  it('leaves an own __proto__ key what it is: data', () => {
    const hostile = JSON.parse(`{"__proto__":{"x":"${'y'.repeat(3)}"}}`) as {
      readonly [key: string]: string;
    };
    expect(JSON.stringify(json(hostile))).toBe('{"__proto__":{"x":"yyy"}}');
    expect(({} as Record<string, unknown>)['x']).toBeUndefined();
  });

  it('for every secret and surrounding', () => {
    const printable = fc.string({
      unit: fc.integer({ min: 0x21, max: 0x7e }).map((c) => String.fromCharCode(c)),
      minLength: 8,
      maxLength: 60,
    });
    fc.assert(
      fc.property(
        printable,
        fc.string({ maxLength: 5 }),
        fc.string({ maxLength: 5 }),
        fc.nat(ENCODINGS.length - 1),
        (secret, a, b, which) => {
          const redactor = createRedactor(secret);
          const encode = ENCODINGS[which]![1];
          const said = `${a} ${encode(secret)} ${b}`;
          expect(leaks(redactor.text(said), secret)).toBe(false);
          // the scan that decides whether anything is removed at all
          expect(redactor.suspects(JSON.stringify({ said: [said] }))).toBe(true);
          expect(redactor.suspects(JSON.stringify({ [said]: 1 }))).toBe(true);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('changes nothing that does not contain it', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(JSON.stringify(json(value as never))).toBe(JSON.stringify(value));
      }),
    );
  });

  it('a secret of digits does not come back as a number', () => {
    const digits = createRedactor('4111111111111111');
    expect(digits.json({ pin: 4111111111111111 })).toEqual({ pin: '[redacted]' });
    expect(digits.suspects('{"pin":4111111111111111}')).toBe(true);
  });

  it('a longer one does not come back rounded', () => {
    const digits = createRedactor('41111111111111112222');
    expect(digits.json(JSON.parse('{"pin":41111111111111112222}') as never)).toEqual({ pin: '[redacted]' });
  });

  it('of a long one the beginning alone is taken out, and what follows it', () => {
    const long = Array.from({ length: 700 }, (_, i) => String.fromCharCode(0x30 + ((i * 7) % 70))).join('');
    const redactor = createRedactor(long);
    expect(redactor.text(`a ${long.slice(0, 400)} b`)).toBe('a [redacted] b');
    expect(redactor.text(`a ${long}${long} b`)).toBe('a [redacted][redacted] b');
    expect(redactor.text(`a ${Buffer.from(long).toString('base64')} b`)).not.toMatch(/[\w+/]{8}={0,2} b/);
    expect(redactor.suspects(long.slice(0, 400))).toBe(true);
  });

  it('attack: a secret that is made to keep whoever looks for it busy', () => {
    for (const secret of [
      '\\'.repeat(60),
      `${'\\'.repeat(60)}x`,
      '%25'.repeat(20),
      '%2525u00&#00'.repeat(9),
      `b${'a'.repeat(8_000)}`,
    ]) {
      const redactor = createRedactor(secret);
      for (const piece of ['\\', '%', '%25', '&#0', '\\u00', 'a', secret.slice(1, 9)]) {
        const began = performance.now();
        redactor.suspects(JSON.stringify(piece.repeat(65_536 / piece.length)));
        redactor.text(`${piece.repeat(65_536 / piece.length)}y`);
        expect(performance.now() - began).toBeLessThan(500);
      }
    }
  });

  it('attack: what makes patterns slow is as fast as anything else', () => {
    for (const piece of ['\\', '\\u', '\\u0073', SECRET.slice(0, 10), 's', '%25', 'c2st']) {
      const hostile = piece.repeat(Math.ceil(65_536 / piece.length));
      const began = performance.now();
      expect(text(hostile)).toBe(hostile);
      expect(createRedactor(SECRET).suspects(JSON.stringify(hostile))).toBe(false);
      expect(performance.now() - began).toBeLessThan(500);
    }
  });

  it('an answer of 8 KiB without it costs no more than a few scans', () => {
    const answer = JSON.stringify({
      items: Array.from({ length: 96 }, (_, i) => `line ${i} ${'word '.repeat(15)}`),
    });
    expect(answer.length).toBeGreaterThan(8_000);
    const times = Array.from({ length: 400 }, () => {
      const began = performance.now();
      expect(createRedactor(SECRET).suspects(answer)).toBe(false);
      return performance.now() - began;
    }).sort((a, b) => a - b);
    // measured 20 to 40 us on a quiet core; the median of many, because other tests share the cores
    expect(times[200]).toBeLessThan(1);
  });
});
