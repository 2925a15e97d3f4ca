import { depthExceeds } from './canonical-json.js';
import { isStorable } from './storable.js';
import { PolicyDocumentSchema, RULES_MAX } from './policy-document.js';
import type { PolicyDocument } from './policy-document.js';

/** Where a document is wrong: a dotted path in it, e.g. `document.rules.3.when`. */
export interface PolicyProblem {
  readonly path: string;
  readonly message: string;
}

export type ParsedPolicy =
  | { readonly kind: 'document'; readonly document: PolicyDocument }
  | { readonly kind: 'invalid'; readonly problems: readonly [PolicyProblem, ...PolicyProblem[]] };

/** A document as JSON text, in UTF-16 units. */
export const DOCUMENT_CHARS_MAX = 1_000_000;
const DEPTH_MAX = 8;
const PROBLEMS_MAX = 20;
/** Of one object: a rule has 7 fields, `when` at most 32 conditions. */
const NAMES_MAX = 64;
const PROTOTYPE_NAMES = new Set(['__proto__', 'constructor', 'prototype']);

/** Reads what somebody wrote or what a row holds. Never throws: a document that cannot be read is one that says so. */
export function parsePolicy(value: unknown): ParsedPolicy {
  const hostile = hostileShape(value);
  if (hostile) return { kind: 'invalid', problems: [hostile] };
  const parsed = PolicyDocumentSchema.safeParse(value);
  if (parsed.success) return { kind: 'document', document: parsed.data };
  const problems = parsed.error.issues.slice(0, PROBLEMS_MAX).map(({ path, message, ...issue }) => ({
    path: ['document', ...path, ...('keys' in issue ? issue.keys.slice(0, 1) : [])].join('.').slice(0, 500),
    message: message.slice(0, 500),
  }));
  const [first = { path: 'document', message: 'not valid' }, ...others] = problems;
  return { kind: 'invalid', problems: [first, ...others] };
}

/** What must be known before anything walks the value: cycles and depth, size, and names that a parser would drop. */
function hostileShape(value: unknown): PolicyProblem | undefined {
  const text = textOf(value);
  if (text === undefined) return { path: 'document', message: 'not a JSON document' };
  if (text.length > DOCUMENT_CHARS_MAX) {
    return { path: 'document', message: `larger than ${DOCUMENT_CHARS_MAX} characters` };
  }
  if (!isStorable(text))
    return { path: 'document', message: 'has text that is not valid Unicode, or U+0000' };
  if (depthExceeds(value, DEPTH_MAX)) return { path: 'document', message: 'nested too deeply' };
  return badPlace(value, 'document');
}

/** undefined: a cycle, a depth that overflows the stack, or no JSON at all. */
function textOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) return undefined;
    throw error;
  }
}

/**
 * A condition called `__proto__` would vanish while it is read, and its rule would hold for more than was written. And a
 * list or an object of any length would be checked element by element before its length is.
 */
function badPlace(value: unknown, path: string): PolicyProblem | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const most = Array.isArray(value) ? RULES_MAX : NAMES_MAX;
  const entries = Object.entries(value);
  if (entries.length > most) return { path, message: `has more than ${most} entries` };
  for (const [name, item] of entries) {
    const place = `${path}.${name}`.slice(0, 500);
    if (PROTOTYPE_NAMES.has(name)) return { path: place, message: 'not a name' };
    const found = badPlace(item, place);
    if (found) return found;
  }
  return undefined;
}
