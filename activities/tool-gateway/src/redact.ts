import type { Json } from '@bulkhead/contract';
import { plainest, plainViews } from './plain-views.js';

const MARK = '[redacted]';
/** What is left of a secret full of backslashes can be short; what is shorter still is ordinary text. */
const LENGTH_MIN = 4;
/** Of a longer form its beginning is looked for, and as much of the rest as follows: an echo may be cut. */
const HEAD = 256;

export interface Redactor {
  /** The text without the secret. */
  text(text: string): string;
  /** The answer without the secret, at any depth, in keys and numbers too. */
  json(value: Json): Json;
  /** Whether the JSON text of an answer can hold the secret; false is certain, and costs a few scans of the text. */
  suspects(serialised: string): boolean;
}

/**
 * Removes a secret from whatever a tool answered, in the encodings in which services echo credentials: raw, in the other
 * case, base64 and base64url at every alignment (`user:secret` in a basic header), hex, UTF-16, reversed; and each of these
 * percent-encoded, JSON-escaped or with HTML entities, a few times over, all characters of it or some.
 */
export function createRedactor(secret: string): Redactor {
  const { exact, inAnyCase } = formsOf(secret);
  const isIn = (text: string): boolean => {
    if (exact.some((form) => text.includes(form.slice(0, HEAD)))) return true;
    const lower = lowered(text);
    return inAnyCase.some((form) => lower.includes(form.slice(0, HEAD)));
  };
  const suspects = (text: string): boolean => {
    for (const view of plainViews(text)) if (isIn(view.text)) return true;
    return false;
  };
  const text = (input: string): string => {
    const found = [...plainViews(input)].flatMap((view) => {
      const lower = lowered(view.text);
      const places = [
        ...exact.flatMap((form) => placesOf(form, view.text)),
        ...inAnyCase.flatMap((form) => placesOf(form, lower)),
      ];
      return places.map(([from, to]) => [view.span(from)[0], view.span(to - 1)[1]] as const);
    });
    return without(input, found);
  };
  const json = (value: Json): Json => {
    if (typeof value === 'string') return text(value);
    if (typeof value === 'number') return suspects(String(value)) ? MARK : value;
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) return value.map((item: Json) => json(item));
    return Object.fromEntries(
      Object.entries(value).flatMap(([key, item]) => (item === undefined ? [] : [[text(key), json(item)]])),
    );
  };
  return { text, json, suspects };
}

/** As they stand in a text whose characters are written plainly. */
function formsOf(secret: string): {
  readonly exact: readonly string[];
  readonly inAnyCase: readonly string[];
} {
  const bytes = Buffer.from(secret, 'utf8');
  const wide = Buffer.from(secret, 'utf16le');
  const big = Buffer.from(wide).swap16();
  // what a long secret of digits becomes as a number
  const number = /^[1-9]\d+$/.test(secret) ? String(Number(secret)) : '';
  // a secret that itself looks escaped is something else once the text around it is read
  const written = [secret, [...secret].toReversed().join('')].flatMap((form) => [
    form,
    inJson(form),
    inJson(inJson(form)),
    plainest(form),
  ]);
  const exact = [bytes, wide].flatMap((form) => [...aligned(form, 'base64'), ...aligned(form, 'base64url')]);
  const hex = [bytes, wide, big].map((form) => form.toString('hex'));
  const long = (forms: string[]): string[] => [...new Set(forms)].filter((form) => form.length >= LENGTH_MIN);
  return { exact: long(exact), inAnyCase: long([...written, number, ...hex].map(lowered)) };
}

const inJson = (text: string): string => JSON.stringify(text).slice(1, -1);

/** In lower case, with every character where it was: some letters outside ASCII become two. */
function lowered(text: string): string {
  const lower = text.toLowerCase();
  return lower.length === text.length ? lower : text.replaceAll(/[A-Z]+/g, (part) => part.toLowerCase());
}

/** Where a form, or the beginning of a long one, stands. */
function placesOf(form: string, text: string): (readonly [from: number, to: number])[] {
  const head = form.slice(0, HEAD);
  const places: [number, number][] = [];
  for (let from = text.indexOf(head); from !== -1; from = text.indexOf(head, places.at(-1)?.[1])) {
    let length = head.length;
    while (length < form.length && text[from + length] === form[length]) length += 1;
    places.push([from, from + length]);
  }
  return places;
}

function without(text: string, found: readonly (readonly [number, number])[]): string {
  let output = '';
  let done = 0;
  for (const [from, to] of found.toSorted(([a], [b]) => a - b)) {
    // of two that overlap the second only takes more away
    if (from >= done) output += text.slice(done, from) + MARK;
    done = Math.max(done, to);
  }
  return output + text.slice(done);
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
