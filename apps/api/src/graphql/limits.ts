import { BulkheadError } from '@bulkhead/contract';

/** What one document may ask for. docs/security-model.md has the same table for people. */
export const LIMITS = {
  /** Of the text. */
  characters: 16_384,
  /** A parsed document of this size takes half a megabyte, and 200 are kept. */
  tokens: 1_000,
  /** Brackets open at once: parsing recurses, so a deep document would overflow the stack. */
  nesting: 60,
  /** Selections inside selections. Introspection is bounded by a rule of GraphQL's own. */
  depth: 10,
  /** Fields, after fragments are expanded. */
  fields: 400,
  /** Fields at the top, each of which is at least one database transaction. */
  rootFields: 20,
  /** Fields under another name, after fragments are expanded. */
  aliases: 60,
  directives: 20,
  fragments: 20,
  operations: 10,
  /** Expected work: see cost.ts. */
  cost: 5_000,
  /** Lists and objects inside each other in the JSON of a request. */
  jsonDepth: 64,
} as const;
export type Measure = keyof typeof LIMITS;

/** @throws BulkheadError QUERY_TOO_COMPLEX with the measure, the limit and what was found. */
export function within(measure: Measure, found: number): void {
  const limit = LIMITS[measure];
  if (found <= limit) return;
  throw new BulkheadError('QUERY_TOO_COMPLEX', {
    field: 'query',
    publicMessage: `The request has ${measure} ${found}; at most ${limit} is taken.`,
    details: { measure, limit, found },
  });
}
