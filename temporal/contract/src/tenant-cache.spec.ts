import { expect, it } from 'vitest';
import { tenantId } from './ids.js';
import { TenantCache } from './tenant-cache.js';

const ACME = tenantId('acme');
const GLOBEX = tenantId('globex');

it('never answers one tenant with what it remembers of another', () => {
  const cache = new TenantCache<string>({ max: 10, freshMs: 1_000, nowMs: () => 0 });
  cache.set(ACME, ['policy'], 'of acme');
  expect(cache.get(GLOBEX, ['policy'])).toBeUndefined();
  expect(cache.get(ACME, ['policy'])).toEqual({ value: 'of acme', fresh: true });
});

it('keeps keys apart whose parts read the same when they are joined', () => {
  const cache = new TenantCache<number>({ max: 10, freshMs: 1_000, nowMs: () => 0 });
  const keys = [['a', 'b'], ['a,b'], ['a","b'], ['ab'], ['a', null, 'b'], [1], ['1']];
  for (const [index, key] of keys.entries()) cache.set(ACME, key, index);
  expect(keys.map((key) => cache.get(ACME, key)?.value)).toEqual([0, 1, 2, 3, 4, 5, 6]);
});

it('says when an entry is no longer fresh, and forgets the oldest when it is full', () => {
  let now = 0;
  const cache = new TenantCache<number>({ max: 2, freshMs: 1_000, nowMs: () => now });
  cache.set(ACME, ['a'], 1);
  now = 1_000;
  expect(cache.get(ACME, ['a'])).toEqual({ value: 1, fresh: false });
  cache.set(ACME, ['b'], 2);
  cache.set(ACME, ['c'], 3);
  expect(cache.get(ACME, ['a'])).toBeUndefined();
  cache.delete(ACME, ['b']);
  expect(cache.get(ACME, ['b'])).toBeUndefined();
  expect(cache.get(ACME, ['c'])?.value).toBe(3);
});
