import { expect, it } from 'vitest';
import { databaseFault } from './errors.js';

const told = (cause: object): Error =>
  Object.assign(new Error('x'), { meta: { driverAdapterError: { cause } } });
const away = { code: 'DATABASE_UNAVAILABLE' };

it('a database that went away is told as that, wherever the error says so', () => {
  const adapter = Object.assign(told({ originalCode: '57P01', code: '57P01' }), { code: 'P2039' });
  for (const error of [
    Object.assign(new Error('x'), { code: 'ECONNREFUSED' }),
    new Error('x', { cause: Object.assign(new Error('y'), { code: '57P03' }) }),
    new Error('Connection terminated unexpectedly'),
    adapter,
  ])
    expect(databaseFault(error)).toMatchObject(away);
});

it('what the query did wrong passes as it is', () => {
  for (const error of [
    Object.assign(told({ originalCode: '23505' }), { code: 'P2039' }),
    Object.assign(new Error('x'), { code: '42501' }),
    new Error('x'),
  ])
    expect(databaseFault(error)).toBe(error);
});
