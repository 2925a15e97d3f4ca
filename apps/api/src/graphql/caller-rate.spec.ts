import { expect, it } from 'vitest';
import { CallerRate } from './caller-rate.js';

it('takes as many as a minute has at once, then one as each grows back, for each caller alone', () => {
  let nowMs = 0;
  const rate = new CallerRate(60, () => nowMs);
  for (let i = 0; i < 60; i += 1) rate.take('ann');
  const refused = { code: 'TOO_MANY_REQUESTS', details: { limit: 60, retryAfterSeconds: 1 } };
  expect(() => rate.take('ann')).toThrow(expect.objectContaining(refused));
  rate.take('bob');
  nowMs = 999;
  expect(() => rate.take('ann')).toThrow(expect.objectContaining(refused));
  nowMs = 1_000;
  rate.take('ann');
  expect(() => rate.take('ann')).toThrow(expect.objectContaining(refused));
  nowMs = 3_600_000;
  for (let i = 0; i < 60; i += 1) rate.take('ann');
  expect(() => rate.take('ann')).toThrow(expect.objectContaining(refused));
});

it('lets what is known afterwards be spent by many at once, and no debt be left', () => {
  let nowMs = 0;
  const rate = new CallerRate(2, () => nowMs);
  for (let i = 0; i < 10; i += 1) rate.expectLeft('ann');
  for (let i = 0; i < 10; i += 1) rate.spend('ann');
  expect(() => rate.expectLeft('ann')).toThrow(expect.objectContaining({ code: 'TOO_MANY_REQUESTS' }));
  nowMs = 30_000;
  rate.expectLeft('ann');
});

it('says how long a slow rate takes to grow back', () => {
  const rate = new CallerRate(2, () => 0);
  rate.take('ann');
  rate.take('ann');
  expect(() => rate.take('ann')).toThrow(
    expect.objectContaining({ details: { limit: 2, retryAfterSeconds: 30 } }),
  );
});
