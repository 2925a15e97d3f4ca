import type { Json } from '@bulkhead/contract';

const MARK = '[redacted]';

/**
 * Returns a function that removes a secret from whatever a tool answered, at any depth, in keys too, and in the
 * encodings in which services echo credentials: raw, base64 and base64url at every alignment (`user:secret` in a basic
 * header), percent-encoded, JSON-escaped, hex.
 */
export function createRedactor(secret: string): { text(text: string): string; json(value: Json): Json } {
  const forms = [...new Set(encodings(secret))].sort((a, b) => b.length - a.length);
  const pattern = new RegExp(forms.map(escapeRegExp).join('|'), 'g');
  const hex = new RegExp(Buffer.from(secret, 'utf8').toString('hex'), 'gi');
  const text = (input: string): string => input.replace(pattern, MARK).replace(hex, MARK);
  const json = (value: Json): Json => {
    if (typeof value === 'string') return text(value);
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) return value.map((item: Json) => json(item));
    return Object.fromEntries(
      Object.entries(value).flatMap(([key, item]) => (item === undefined ? [] : [[text(key), json(item)]])),
    );
  };
  return { text, json };
}

function encodings(secret: string): string[] {
  const bytes = Buffer.from(secret, 'utf8');
  const percent = encodeURIComponent(secret);
  return [
    secret,
    percent,
    percent.replaceAll('%20', '+'),
    percent.replaceAll(/%[0-9A-F]{2}/g, (code) => code.toLowerCase()),
    percent.replaceAll(/[!'()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`),
    JSON.stringify(secret).slice(1, -1),
    ...aligned(bytes, 'base64'),
    ...aligned(bytes, 'base64url'),
    bytes.toString('base64'),
    bytes.toString('base64url'),
  ].filter((form) => form.length >= 4);
}

/** The characters that stand for the secret alone, whatever stands before and after it in the encoded text. */
function aligned(bytes: Buffer, encoding: 'base64' | 'base64url'): string[] {
  return [0, 1, 2].map((before) => {
    const text = Buffer.concat([Buffer.alloc(before), bytes])
      .toString(encoding)
      .replaceAll('=', '');
    const first = Math.ceil((before * 8) / 6);
    const last = Math.floor(((before + bytes.length) * 8) / 6);
    return text.slice(first, last);
  });
}

const escapeRegExp = (text: string): string => text.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
