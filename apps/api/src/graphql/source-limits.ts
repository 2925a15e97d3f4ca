import { GraphQLError, Lexer, Source, TokenKind } from 'graphql';
import { BulkheadError } from '@bulkhead/contract';
import { LIMITS, within } from './limits.js';

/** Texts that begin like JSON: Mercurius would take a JSON syntax tree for a document and skip the parser. */
const JSON_START = /^[\s\uFEFF]*(?:\[|\{\s*["}]|"|-?\d|(?:true|false|null)\s*$)/;

/**
 * The limits that can be told from the text alone, before it is parsed.
 * @throws BulkheadError QUERY_TOO_COMPLEX, BAD_INPUT when it is no GraphQL but its syntax tree.
 */
export function checkSource(source: string): void {
  within('characters', source.length);
  if (JSON_START.test(source)) {
    throw new BulkheadError('BAD_INPUT', { field: 'query', publicMessage: 'The document is not GraphQL.' });
  }
  // a document has no more tokens than characters, and no more of each kind than it has of that character
  if (source.length <= LIMITS.tokens && atMost(source)) return;
  const counted = countTokens(source);
  within('tokens', counted.tokens);
  within('nesting', counted.nesting);
  within('directives', counted.directives);
}

/** true: too few brackets and @ to exceed a limit, also when those in comments and texts are counted. */
function atMost(source: string): boolean {
  let opened = 0;
  let ats = 0;
  for (const character of source) {
    if (character === '{' || character === '[' || character === '(') opened += 1;
    else if (character === '@') ats += 1;
  }
  return opened <= LIMITS.nesting && ats <= LIMITS.directives;
}

const OPENING = new Set<TokenKind>([TokenKind.BRACE_L, TokenKind.BRACKET_L, TokenKind.PAREN_L]);
const CLOSING = new Set<TokenKind>([TokenKind.BRACE_R, TokenKind.BRACKET_R, TokenKind.PAREN_R]);

/** By GraphQL's own lexer, so that a bracket in a comment closes nothing. A text it cannot read is counted up to there. */
function countTokens(source: string): { tokens: number; nesting: number; directives: number } {
  const lexer = new Lexer(new Source(source));
  const counted = { tokens: 0, nesting: 0, directives: 0 };
  let open = 0;
  try {
    for (let { kind } = lexer.advance(); kind !== TokenKind.EOF; { kind } = lexer.advance()) {
      counted.tokens += 1;
      if (OPENING.has(kind)) open += 1;
      else if (CLOSING.has(kind)) open -= 1;
      else if (kind === TokenKind.AT) counted.directives += 1;
      counted.nesting = Math.max(counted.nesting, open);
    }
  } catch (error) {
    // the parser stops at the same place and says why
    if (!(error instanceof GraphQLError)) throw error;
  }
  return counted;
}
