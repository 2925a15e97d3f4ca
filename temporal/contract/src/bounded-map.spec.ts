import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BoundedMap } from './bounded-map.js';

describe('a bounded map', () => {
  it('keeps the entries set last, never more than its bound, and each with its newest value', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.array(fc.tuple(fc.integer({ min: 0, max: 8 }), fc.nat())),
        (max, sets) => {
          const map = new BoundedMap<number, number>(max);
          for (const [key, value] of sets) {
            map.set(key, value);
            expect(map.size).toBeLessThanOrEqual(max);
          }
          const newest = new Map(sets);
          const last = [...new Set(sets.map(([key]) => key).toReversed())].slice(0, max).toReversed();
          expect([...map]).toEqual(last.map((key) => [key, newest.get(key)]));
        },
      ),
    );
  });
});
