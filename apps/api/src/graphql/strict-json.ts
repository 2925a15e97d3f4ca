import { BulkheadError } from '@bulkhead/contract';
import { within } from './limits.js';

/**
 * Parses JSON that means one thing only: no name twice in an object (readers disagree on which counts), no number that
 * cannot be kept, no `__proto__`, and no deeper than what can be walked by recursion.
 * @throws BulkheadError BAD_INPUT, QUERY_TOO_COMPLEX
 */
export function parseStrictJson(text: string, field: string): unknown {
  scan(text, field);
  try {
    return JSON.parse(text);
  } catch {
    throw bad(field, 'The request is not JSON.'); // the parser's own message quotes the text
  }
}

/** Looks at tokens only: what is no JSON is found by the parser afterwards. */
function scan(text: string, field: string): void {
  /** Names of each open object; undefined for an open list. */
  const open: (Set<string> | undefined)[] = [];
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if (code === OPEN_OBJECT || code === OPEN_LIST) {
      open.push(code === OPEN_OBJECT ? new Set() : undefined);
      within('jsonDepth', open.length);
    } else if (code === CLOSE_OBJECT || code === CLOSE_LIST) {
      open.pop();
    } else if (code === QUOTE) {
      const end = endOfString(text, i);
      if (end === -1) return; // it never ends
      const names = open.at(-1);
      if (names && colonFollows(text, end)) checkName(text.slice(i, end + 1), names, field);
      i = end;
    } else if (isDigit(code)) {
      let end = i + 1;
      while (isOfNumber(text.charCodeAt(end))) end += 1;
      // short ones are kept exactly, but for 1e999
      if (end - i > 3) checkNumber(text.slice(i, end), field);
      i = end - 1;
    }
  }
}

const [OPEN_OBJECT, CLOSE_OBJECT, OPEN_LIST, CLOSE_LIST] = [0x7b, 0x7d, 0x5b, 0x5d];
const [SPACE, QUOTE, COLON, BACKSLASH] = [0x20, 0x22, 0x3a, 0x5c];
const isDigit = (code: number): boolean => code >= 0x30 && code <= 0x39;
/** Digits and `.eE+-`: what follows a first digit in a number. */
const isOfNumber = (code: number): boolean =>
  isDigit(code) || code === 0x2e || code === 0x65 || code === 0x45 || code === 0x2b || code === 0x2d;

/** Place of the quote that ends the string that begins at `start`; -1: there is none. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let before = end;
    while (text.charCodeAt(before - 1) === BACKSLASH) before -= 1;
    if ((end - before) % 2 === 0) return end;
  }
  return -1;
}

function colonFollows(text: string, end: number): boolean {
  let next = end + 1;
  while (text.charCodeAt(next) <= SPACE) next += 1;
  return text.charCodeAt(next) === COLON;
}

function checkName(string: string, names: Set<string>, field: string): void {
  const name = decoded(string);
  if (name === undefined) return;
  if (names.has(name)) throw bad(field, `"${name.slice(0, 60)}" is given twice.`);
  if (name === '__proto__') throw bad(field, 'The name "__proto__" is not taken.');
  names.add(name);
}

/** Two spellings can be one name: `"a"` and `"\u0061"`. */
function decoded(string: string): string | undefined {
  if (!string.includes('\\')) return string.slice(1, -1);
  try {
    return String(JSON.parse(string));
  } catch {
    return undefined; // found again by the parser of the whole
  }
}

function checkNumber(number: string, field: string): void {
  const value = Number(number);
  if (Number.isNaN(value)) return; // no number, which the parser says
  if (Number.isFinite(value) && (Number.isSafeInteger(value) || !/^\d+$/.test(number))) return;
  throw bad(field, `The number ${number.slice(0, 40)} cannot be kept exactly; send it as text.`);
}

const bad = (field: string, publicMessage: string): BulkheadError =>
  new BulkheadError('BAD_INPUT', { field, publicMessage });
