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

const STRING = /"(?:[^"\\]|\\.)*"/sy;
const NUMBER = /-?\d+(\.\d+)?(?:[eE][+-]?\d+)?/y;
const COLON = /\s*:/y;

/** Looks at tokens only: what is no JSON is found by the parser afterwards. */
function scan(text: string, field: string): void {
  /** Names of each open object; undefined for an open list. */
  const open: (Set<string> | undefined)[] = [];
  for (let i = 0; i < text.length; i += 1) {
    const character = text[i] ?? '';
    if (character === '{' || character === '[') {
      open.push(character === '{' ? new Set() : undefined);
      within('jsonDepth', open.length);
    } else if (character === '}' || character === ']') {
      open.pop();
    } else if (character === '"') {
      const string = tokenAt(STRING, text, i);
      if (string === undefined) return; // it never ends
      i += string.length - 1;
      if (tokenAt(COLON, text, i + 1) !== undefined) checkName(string, open.at(-1), field);
    } else if (character === '-' || (character >= '0' && character <= '9')) {
      const number = tokenAt(NUMBER, text, i) ?? character;
      checkNumber(number, field);
      i += number.length - 1;
    }
  }
}

function tokenAt(pattern: RegExp, text: string, index: number): string | undefined {
  pattern.lastIndex = index;
  return pattern.exec(text)?.[0];
}

function checkName(string: string, names: Set<string> | undefined, field: string): void {
  const name = decoded(string);
  if (name === undefined || names === undefined) return;
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
  const isWhole = /^-?\d+$/.test(number);
  if (Number.isFinite(value) && (!isWhole || Number.isSafeInteger(value))) return;
  throw bad(field, `The number ${number.slice(0, 40)} cannot be kept exactly; send it as text.`);
}

const bad = (field: string, publicMessage: string): BulkheadError =>
  new BulkheadError('BAD_INPUT', { field, publicMessage });
