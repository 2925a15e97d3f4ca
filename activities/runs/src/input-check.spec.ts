import { describe, expect, it } from 'vitest';
import { BulkheadError } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import { createInputCheck } from './input-check.js';

const SCHEMA: Json = {
  type: 'object',
  properties: {
    ticketId: { type: 'string', maxLength: 20 },
    options: { type: 'object', properties: { 'a/b': { type: 'number' } } },
  },
  required: ['ticketId'],
  additionalProperties: false,
};

function refusal(input: Json, schema: Json = SCHEMA): Pick<BulkheadError, 'code' | 'field'> {
  try {
    createInputCheck()(schema, input);
  } catch (error) {
    if (error instanceof BulkheadError) return { code: error.code, field: error.field };
    throw error;
  }
  throw new Error('the input was accepted');
}

describe('the input of a run', () => {
  it('is returned in canonical form, so that equal inputs have equal digests', () => {
    const check = createInputCheck();
    expect(check(SCHEMA, { ticketId: 'T-1', options: { 'a/b': 1 } })).toBe(
      check(SCHEMA, { options: { 'a/b': 1 }, ticketId: 'T-1' }),
    );
  });

  it.each<[string, Json, string]>([
    ['missing', {}, 'input.ticketId'],
    ['of the wrong type', { ticketId: 7 }, 'input.ticketId'],
    ['too long', { ticketId: 'x'.repeat(21) }, 'input.ticketId'],
    ['unknown', { ticketId: 'T', tenantId: 'globex' }, 'input.tenantId'],
    ['nested and wrong', { ticketId: 'T', options: { 'a/b': 'x' } }, 'input.options.a/b'],
    ['no object', 'T-1', 'input'],
    ['a lone surrogate', { ticketId: '\ud800' }, 'input'],
  ])('is refused with the field that is %s', (_what, input, field) => {
    expect(refusal(input)).toEqual({ code: 'BAD_INPUT', field });
  });

  it('is refused above 64 KiB', () => {
    expect(refusal({ ticketId: 'x'.repeat(65_536) }).code).toBe('PAYLOAD_TOO_LARGE');
  });

  it('is refused when it is nested to overflow the stack', () => {
    let bomb: Json = 'x';
    for (let i = 0; i < 20_000; i += 1) bomb = [bomb];
    expect(refusal(bomb)).toEqual({ code: 'BAD_INPUT', field: 'input' });
  });

  it('is not judged by another schema of the same $id', () => {
    const check = createInputCheck();
    const schema = (type: string): Json => ({ $id: 'https://schemas.example/same', type });
    expect(check(schema('string'), 'a')).toBe('"a"');
    expect(check(schema('number'), 1)).toBe('1');
    expect(() => check(schema('number'), 'a')).toThrow(BulkheadError);
  });
});
