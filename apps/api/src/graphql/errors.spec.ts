import { buildSchema, graphqlSync } from 'graphql';
import { pino } from 'pino';
import type { Logger } from 'pino';
import { describe, expect, it } from 'vitest';
import { BulkheadError } from '@bulkhead/contract';
import { publicError } from './errors.js';

function recorder(): { log: Logger; lines: string[] } {
  const lines: string[] = [];
  return { log: pino({ level: 'trace' }, { write: (line: string) => lines.push(line) }), lines };
}
const shown = (error: unknown): { message: string; extensions: Record<string, unknown> } => {
  const { message, extensions } = publicError(error, recorder().log);
  return { message, extensions: { ...extensions } };
};

const schema = buildSchema(`
  input Start { agentId: ID!, input: Deep! }
  input Deep { ticketId: String! }
  type Query { run(id: ID!): String, start(input: Start!): String }`);
const refusal = (source: string, variableValues: Record<string, unknown> = {}): Record<string, unknown> => {
  const [error] = graphqlSync({ schema, source, variableValues }).errors ?? [];
  const { message, extensions } = shown(error);
  return { message, ...extensions };
};

describe('what leaves the process about an error', () => {
  it('is code, message and field of what the caller did wrong', () => {
    const error = new BulkheadError('BAD_INPUT', {
      field: 'input.a',
      publicMessage: 'a is wrong',
      internal: 'secret detail',
    });
    expect(shown(error)).toEqual({
      message: 'a is wrong',
      extensions: { code: 'BAD_USER_INPUT', field: 'input.a' },
    });
  });

  it('is only an id of what we did wrong, and the rest is logged under that id', () => {
    const { log, lines } = recorder();
    const { message, extensions } = publicError(new Error('relation "secrets" at /srv/app.ts:1'), log);
    expect(message).toBe('Something went wrong on our side.');
    expect(extensions).toEqual({ code: 'INTERNAL', id: expect.stringMatching(/^[0-9a-f-]{36}$/) });
    expect(lines.join()).toContain(extensions.id ?? 'no id');
    expect(lines.join()).toContain('relation');
  });

  it('is UNAVAILABLE, without the address, when the database is away', () => {
    const error = new BulkheadError('DATABASE_UNAVAILABLE', {
      internal: 'connect ECONNREFUSED 10.0.0.7:5432',
    });
    expect(JSON.stringify(shown(error))).not.toContain('10.0.0.7');
    expect(shown(error).extensions.code).toBe('UNAVAILABLE');
  });

  it.each([
    ['an unknown field', '{ runn }', {}, 'runn'],
    ['an unknown argument', '{ run(idd: 1) }', {}, 'idd'],
    ['a missing argument', '{ run }', {}, 'id'],
    ['a missing variable', 'query ($input: Start!) { start(input: $input) }', {}, 'input'],
    [
      'a missing part',
      'query ($input: Start!) { start(input: $input) }',
      { input: { agentId: 'a' } },
      'input.input',
    ],
    [
      'a missing deep part',
      'query ($input: Start!) { start(input: $input) }',
      { input: { agentId: 'a', input: {} } },
      'input.input.ticketId',
    ],
    [
      'an unknown part',
      'query ($input: Start!) { start(input: $input) }',
      { input: { agentId: 'a', input: { ticketId: 'x' }, tenantId: 'globex' } },
      'input.tenantId',
    ],
    [
      'a wrong type',
      'query ($input: Start!) { start(input: $input) }',
      { input: { agentId: {}, input: { ticketId: 'x' } } },
      'input.agentId',
    ],
  ])('names the field of %s', (_what, source, variables, field) => {
    expect(refusal(source, variables)).toMatchObject({ code: 'BAD_USER_INPUT', field });
  });

  it('suggests no names of the schema', () => {
    expect(refusal('{ runn }').message).toBe('Cannot query field "runn" on type "Query".');
    expect(JSON.stringify(refusal('{ startt }'))).not.toContain('Did you mean');
  });

  it('calls a broken promise of our own schema INTERNAL', () => {
    const broken = graphqlSync({ schema: buildSchema('type Query { a: String! }'), source: '{ a }' })
      .errors?.[0];
    expect(shown(broken).extensions.code).toBe('INTERNAL');
  });
});
