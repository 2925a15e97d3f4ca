import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { spaced } from './spaced.js';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

it('passes the first call on at once, and of many that follow one, a second later', () => {
  const pass = vi.fn();
  const { call } = spaced(pass, 1_000);
  for (let n = 0; n < 50; n += 1) call();
  expect(pass).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(999);
  expect(pass).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(1);
  expect(pass).toHaveBeenCalledTimes(2);
  // the one that waited starts a new second
  call();
  expect(pass).toHaveBeenCalledTimes(2);
  vi.advanceTimersByTime(1_000);
  expect(pass).toHaveBeenCalledTimes(3);
  vi.advanceTimersByTime(60_000);
  expect(pass).toHaveBeenCalledTimes(3);
  call();
  expect(pass).toHaveBeenCalledTimes(4);
});

it('passes nothing on once it is closed, not even what waits', () => {
  const pass = vi.fn();
  const { call, close } = spaced(pass, 1_000);
  call();
  call();
  close();
  vi.advanceTimersByTime(60_000);
  expect(pass).toHaveBeenCalledTimes(1);
});
