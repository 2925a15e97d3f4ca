import { expect, it } from 'vitest';
import { buildRunId, tenantId } from '@bulkhead/contract';
import { newUlid } from './ulid.js';

it('makes ULIDs that the contract accepts and that sort by time', () => {
  const ids = [1_700_000_000_000, 1_700_000_000_001, 1_900_000_000_000].map(newUlid);
  expect(ids.toSorted()).toEqual(ids);
  for (const id of ids) expect(buildRunId(tenantId('acme'), id)).toBe(`acme.run.${id}`);
  expect(newUlid(0).slice(0, 10)).toBe('0000000000');
});
