import type { Json } from '@bulkhead/contract';

const MARK = '[redacted]';

export interface Redactor {
  /** The text without the secret. */
  text(text: string): string;
  /** The answer without the secret, at any depth, in keys and numbers too. */
  json(value: Json): Json;
  /** Whether the JSON text of an answer can hold the secret; false is certain, and costs a few scans of the text. */
  suspects(serialised: string): boolean;
}

/**
 * Removes a secret from whatever a tool answered, in the encodings in which services echo credentials: raw, base64 and
 * base64url at every alignment (`user:secret` in a basic header), percent-encoded once and twice, JSON-escaped, with
 * HTML entities, hex, reversed.
 */
export function createRedactor(secret: string): Redactor {
  // an error's text is often JSON as it came, in which each form stands escaped
  const forms = [...new Set(encodings(secret).flatMap((form) => [form, inJson(form)]))].sort(
    (a, b) => b.length - a.length,
  );
  const hex = Buffer.from(secret, 'utf8').toString('hex');
  // in the JSON text of an answer every form stands as JSON writes it
  const written = [...new Set(forms.map(inJson))];
  const escapes = escapedForms(secret);
  let patterns: readonly RegExp[] | undefined;
  const text = (input: string): string => {
    // compiled when there is something to remove, which is hardly ever
    patterns ??= [new RegExp(forms.map(escapeRegExp).join('|'), 'g'), new RegExp(hex, 'gi'), escapes];
    let output = input;
    for (const pattern of patterns) output = output.replace(pattern, MARK);
    return output;
  };
  const json = (value: Json): Json => {
    if (typeof value === 'string') return text(value);
    if (typeof value === 'number') return text(String(value)) === String(value) ? value : MARK;
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) return value.map((item: Json) => json(item));
    return Object.fromEntries(
      Object.entries(value).flatMap(([key, item]) => (item === undefined ? [] : [[text(key), json(item)]])),
    );
  };
  const suspects = (serialised: string): boolean =>
    written.some((form) => serialised.includes(form)) ||
    (serialised.includes('\\\\u') && serialised.search(escapes) !== -1) ||
    includesHex(serialised, hex);
  return { text, json, suspects };
}

/** Hex in either case or a mixture of both: compared in one case. */
const includesHex = (text: string, hex: string): boolean =>
  text.includes(hex) || text.includes(hex.toUpperCase()) || text.toLowerCase().includes(hex);

const inJson = (text: string): string => JSON.stringify(text).slice(1, -1);

function encodings(secret: string): string[] {
  const bytes = Buffer.from(secret, 'utf8');
  const percent = encodeURIComponent(secret);
  return [
    secret,
    percent,
    encodeURIComponent(percent),
    percent.replaceAll('%20', '+'),
    percent.replaceAll(/%[0-9A-F]{2}/g, (code) => code.toLowerCase()),
    percent.replaceAll(/[!'()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`),
    inJson(secret),
    inHtml(secret, /[&<>"']/g),
    inHtml(secret, /[&<>"]/g),
    inHtml(secret, /[&<>]/g),
    [...secret].toReversed().join(''),
    ...aligned(bytes, 'base64'),
    ...aligned(bytes, 'base64url'),
    bytes.toString('base64'),
    bytes.toString('base64url'),
  ].filter((form) => form.length >= 4);
}

/**
 * The secret with any of its characters written as JSON's or JavaScript's `\uXXXX`, in either case, itself within JSON.
 * The backslashes are counted: a tool that answers with a million of them must not keep the pattern busy.
 */
function escapedForms(secret: string): RegExp {
  const units = Array.from({ length: secret.length }, (_, index) => {
    const code = secret.charCodeAt(index).toString(16).padStart(4, '0');
    const digits = [...code].map((digit) =>
      /[a-f]/.test(digit) ? `[${digit}${digit.toUpperCase()}]` : digit,
    );
    return `(?:\\\\{0,3}${escapeRegExp(secret[index] ?? '')}|\\\\{1,4}u${digits.join('')})`;
  });
  return new RegExp(units.join(''), 'g');
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
/** Templates differ in which quotes they replace. */
const inHtml = (secret: string, marks: RegExp): string =>
  secret.replaceAll(marks, (mark) => ENTITIES[mark] ?? `&#${mark.charCodeAt(0)};`);

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
