import { expect, it, vi } from 'vitest';
import { BulkheadError } from '@bulkhead/contract';
import type { Principal } from '../auth/principal.js';
import { Watch } from './watch.js';

it('asks in the middle of what it has to tell who the reader is by then, once that is in doubt, and ends', async () => {
  const principal = {} as Principal;
  let doubt = (): void => undefined;
  const access = {
    watch: (_caller: unknown, onHint: () => void) => {
      doubt = onHint;
      return () => undefined;
    },
  };
  const authenticate = vi.fn().mockRejectedValue(new BulkheadError('FORBIDDEN'));
  const watch = new Watch(access, authenticate, { log: { error: () => undefined } as never });
  const events = await watch.open<number, number>(principal, {} as never, {
    needs: 'approval:read',
    watch: () => () => undefined,
    read: async () => 0,
    async *events(_now, _before, reader) {
      for (let n = 1; n <= 3; n += 1) {
        expect(await reader()).toBe(principal);
        yield n;
      }
    },
    rereadMs: () => 60_000,
  });
  expect(await events.next()).toEqual({ value: 1, done: false });
  expect(await events.next()).toEqual({ value: 2, done: false });
  expect(authenticate).not.toHaveBeenCalled();
  doubt();
  await expect(events.next()).rejects.toMatchObject({ extensions: { code: 'FORBIDDEN' } });
  expect(authenticate).toHaveBeenCalledTimes(1);
});
