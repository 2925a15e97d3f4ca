import { describe, expect, it, vi } from 'vitest';
import type { HostId } from '@bulkhead/contract';
import { createPulse } from './pulse.js';

function stage() {
  const clock = { now: 1_000 };
  const door = { answer: 'ok' as 'ok' | 'fenced' | 'away', takesMs: 0 };
  const onFenced = vi.fn<() => void>();
  const pulse = createPulse({
    hostId: 'host-1' as HostId,
    nowMs: () => clock.now,
    onFenced,
    door: {
      host: async () => {
        clock.now += door.takesMs;
        if (door.answer === 'away') throw new Error('away');
        return { kind: door.answer };
      },
    },
  });
  return { clock, door, pulse, onFenced };
}

describe('a host', () => {
  it('may not send before it is registered', () => {
    expect(stage().pulse.isAlive()).toBe(false);
  });

  it('stops sending 5 s after its last beat and starts again with the next', async () => {
    const { clock, door, pulse } = stage();
    await pulse.register();
    clock.now += 4_999;
    expect(pulse.isAlive()).toBe(true);
    clock.now += 1;
    expect(pulse.isAlive()).toBe(false);
    door.answer = 'away';
    await expect(pulse.beatOnce()).rejects.toThrow('away');
    expect(pulse.isAlive()).toBe(false);
    door.answer = 'ok';
    await pulse.beatOnce();
    expect(pulse.isAlive()).toBe(true);
  });

  it('counts a slow beat from when it was asked: it may have been written then', async () => {
    const { door, pulse } = stage();
    door.takesMs = 5_000;
    await pulse.register();
    expect(pulse.isAlive()).toBe(false);
  });

  it('that was fenced ends and never sends again', async () => {
    const { door, pulse, onFenced } = stage();
    await pulse.register();
    door.answer = 'fenced';
    await pulse.beatOnce();
    expect(onFenced).toHaveBeenCalledOnce();
    door.answer = 'ok';
    await pulse.beatOnce();
    expect(pulse.isAlive()).toBe(false);
  });
});
