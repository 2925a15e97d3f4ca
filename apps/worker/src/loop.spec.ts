import { describe, expect, it, vi } from 'vitest';
import { createWakeup, runLoop } from './loop.js';

const silent = { error: () => undefined };

describe('a loop', () => {
  it('goes on after a step that throws, and reports it', async () => {
    const stop = new AbortController();
    const error = vi.fn<(fields: object, message: string) => void>();
    let steps = 0;
    await runLoop({
      name: 'test',
      log: { error },
      stop: stop.signal,
      idleMs: 1,
      failedMsMax: 1,
      step: async () => {
        steps += 1;
        if (steps === 1) throw new Error('away');
        stop.abort();
        return 'idle';
      },
    });
    expect(steps).toBe(2);
    expect(error).toHaveBeenCalledOnce();
  });

  it('a hint ends its pause, and one that came during a step is not lost', async () => {
    const stop = new AbortController();
    const wakeup = createWakeup();
    let steps = 0;
    await runLoop({
      name: 'test',
      log: silent,
      stop: stop.signal,
      idleMs: 60_000,
      wakeup,
      step: async () => {
        steps += 1;
        if (steps === 1) wakeup.notify();
        if (steps === 2) setTimeout(() => wakeup.notify(), 5);
        if (steps === 3) stop.abort();
        return 'idle';
      },
    });
    expect(steps).toBe(3);
  });

  it('ends during its pause when it is stopped', async () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 5);
    await runLoop({ name: 'test', log: silent, stop: stop.signal, idleMs: 60_000, step: async () => 'idle' });
    expect(stop.signal.aborted).toBe(true);
  });
});
