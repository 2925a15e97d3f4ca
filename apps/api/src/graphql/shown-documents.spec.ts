import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { buildSchema, parse, validate } from 'graphql';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
const schema = buildSchema(readFileSync(`${ROOT}apps/api/schema.gql`, 'utf8'));
const pages = [
  'README.md',
  ...readdirSync(`${ROOT}docs`)
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

/** Whole documents only: blocks, and what stands in a line from its first word to its last brace. */
const shown = pages.flatMap((page) => {
  const text = readFileSync(ROOT + page, 'utf8');
  const blocks = [...text.matchAll(/```graphql\n([\s\S]*?)```/g)];
  const lines = [...text.matchAll(/`((?:mutation|query|subscription)\b[^`]*\})`/g)];
  return [...blocks, ...lines].map(([, document = '']) => ({ page, document }));
});

describe('what the docs tell people to ask', () => {
  it('is found', () => {
    expect(shown.length).toBeGreaterThan(8);
  });

  it.each(shown)('$page: $document', ({ document }) => {
    // several operations without a name in one block are sent one by one
    for (const operation of parse(document).definitions) {
      expect(validate(schema, { kind: 'Document', definitions: [operation] } as never).map(String)).toEqual(
        [],
      );
    }
  });
});
