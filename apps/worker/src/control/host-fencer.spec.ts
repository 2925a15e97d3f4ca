import { describe, expect, it } from 'vitest';
import { createHostFencer } from './host-fencer.js';

/** A hosts table in memory and a clock that the test turns. */
function stage() {
  const hosts = new Map<string, { beat: number; fenced: boolean }>();
  const clock = { now: 0 };
  const control = {
    query: async (sql: string, values: unknown[] = []) => {
      if (sql.startsWith('SELECT')) {
        return [...hosts]
          .filter(([, host]) => !host.fenced)
          .map(([id, { beat }]) => ({ id, beat: String(beat) }));
      }
      const host = hosts.get(String(values[0]));
      if (!host || host.fenced || String(host.beat) !== values[1]) return [];
      host.fenced = true;
      return [{ id: values[0] }];
    },
  } as Parameters<typeof createHostFencer>[0]['control'];
  const fencer = createHostFencer({ control, log: { warn: () => undefined }, nowMs: () => clock.now });
  const second = async (beating: string[] = []): Promise<string[]> => {
    clock.now += 1_000;
    for (const id of beating) hosts.get(id)!.beat += 1;
    return fencer.fenceOnce();
  };
  return { hosts, clock, second };
}

describe('the fencer', () => {
  it('fences a silent host after 7 s and no other, once', async () => {
    const { hosts, second } = stage();
    hosts.set('silent', { beat: 4, fenced: false });
    hosts.set('alive', { beat: 0, fenced: false });
    const fenced: string[][] = [];
    for (let at = 0; at < 12; at += 1) fenced.push(await second(['alive']));
    expect(fenced.map((ids) => ids.join())).toEqual(['', '', '', '', '', '', '', 'silent', '', '', '', '']);
  });

  it('counts anew when it could not look for a while: nobody could beat then either', async () => {
    const { hosts, clock, second } = stage();
    hosts.set('host', { beat: 1, fenced: false });
    await second();
    clock.now += 60_000;
    for (let at = 0; at < 7; at += 1) expect(await second()).toEqual([]);
    expect(await second()).toEqual(['host']);
  });

  it('never fences a host that beats between the look and the fence', async () => {
    const { hosts, clock, second } = stage();
    const host = { beat: 1, fenced: false };
    hosts.set('late', host);
    for (let at = 0; at < 7; at += 1) await second();
    clock.now += 1_000;
    // the row moves while the fencer still holds the beat it has read
    const moving = {
      get beat() {
        return (host.beat += 1);
      },
      fenced: false,
    };
    hosts.set('late', moving as typeof host);
    await second();
    expect(moving.fenced).toBe(false);
  });
});
