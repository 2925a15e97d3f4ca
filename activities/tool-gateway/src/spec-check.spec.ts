import { afterEach, describe, expect, it, vi } from 'vitest';
import { schemaProblem } from '@bulkhead/contract/schemas';
import { checkedSpec, compileSchema } from './spec-check.js';

/** An answer is at most this large, and a host that says nothing for 5 s is fenced with all its tenants. */
const LARGEST = 262_144;
const list = (items: object) => ({ type: 'array', items });

afterEach(() => void vi.restoreAllMocks());

describe('the dearest schemas that are taken, and the dearest values for them', () => {
  it.each<[string, object, unknown]>([
    [
      'as many alternatives as an element may have',
      list({ anyOf: [...Array.from({ length: 40 }, (_, i) => ({ const: i + 10 })), { type: 'number' }] }),
      Array.from({ length: LARGEST / 2 }, () => 1),
    ],
    [
      'as many values as an element may be compared with',
      list({ enum: Array.from({ length: 6_000 }, (_, i) => i + 10) }),
      Array.from({ length: LARGEST / 5 }, () => 6_009),
    ],
    ['a pattern that is tried everywhere', { type: 'string', pattern: 'a{250}b' }, 'a'.repeat(LARGEST)],
    [
      'two repeats over many texts',
      list({ type: 'string', maxLength: 1_024, pattern: '^a*.*[bc]$' }),
      Array.from({ length: LARGEST / 1_026 }, () => 'a'.repeat(1_024)),
    ],
    [
      'ten things that may be left out, anywhere',
      { type: 'string', pattern: '[ab]?[ab]?[ab]?[ab]?[ab]?[ab]?[ab]?aaaaaac' },
      'a'.repeat(LARGEST),
    ],
  ])('%s', (_what, schema, value) => {
    expect(schemaProblem(schema)).toBeUndefined();
    const validate = compileSchema(schema as Record<string, unknown>);
    const began = performance.now();
    validate(value);
    // 0.1 to 0.8 s on a quiet core; 17 s and more before such schemas were refused
    expect(performance.now() - began).toBeLessThan(4_000);
  });

  it('as many checks as there may be are compiled and run', () => {
    const schema = {
      allOf: Array.from({ length: 330 }, () => ({ properties: { a: { type: 'string' } }, type: 'object' })),
    };
    expect(schemaProblem(schema)).toBeUndefined();
    expect(compileSchema(schema)({ a: 'x' })).toBe(true);
  });
});

it('what does not compile is told to whoever declares it, and to no log: a schema is a tenant’s text', () => {
  const log = (['log', 'warn', 'error'] as const).map((way) => vi.spyOn(console, way));
  expect(() => compileSchema({ type: 'object', nonsense: 'sk-live-1' })).toThrow('The schema is not valid');
  // ajv would print the two megabytes of code that it made of it and could not load
  const deep = {
    allOf: Array.from({ length: 2_400 }, () => ({ type: 'string', minLength: 1, maxLength: 9 })),
  };
  expect(() => compileSchema(deep)).toThrow('The schema is not valid');
  for (const spy of log) expect(spy).not.toHaveBeenCalled();
});

describe('the header that a credential goes into', () => {
  const withHeader = (header: string) =>
    checkedSpec({
      adapter: 'http',
      method: 'DELETE',
      url: 'https://desk.example/things',
      description: 'x',
      inputSchema: { type: 'object', additionalProperties: false },
      effect: 'write',
      idempotency: 'none',
      credential: { secret: 'desk', slot: { header } },
    });

  it.each(['authorization', 'x-api-key', 'cookie', 'private-token'])('may be %s', (header) => {
    expect(withHeader(header)).toMatchObject({ credential: { slot: { header, prefix: '' } } });
  });

  it.each([
    'expect',
    'host',
    'content-length',
    'transfer-encoding',
    'upgrade',
    'idempotency-key',
    'mcp-session-id',
  ])('attack: is %s, which decides when, where or as what the request arrives', (header) => {
    expect(() => withHeader(header)).toThrow(
      expect.objectContaining({ code: 'BAD_INPUT', field: 'credential.slot.header' }),
    );
  });
});
