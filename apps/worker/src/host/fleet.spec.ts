import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { tenantId } from '@bulkhead/contract';
import { createFleet } from './fleet.js';

const ACME = tenantId('acme');
const GLOBEX = tenantId('globex');

function stage() {
  const roster = new Set([ACME]);
  const events: string[] = [];
  const broken = new Set<string>();
  const fleet = createFleet({
    tokens: { tenants: async () => [...roster] },
    log: pino({ level: 'silent' }),
    supervise: (id) => {
      events.push(`start ${id}`);
      return {
        renewToken: async () => {
          if (broken.has(id)) throw new Error('no token');
          events.push(`renew ${id}`);
        },
        restart: () => void events.push(`restart ${id}`),
        stop: async () => void events.push(`stop ${id}`),
      };
    },
  });
  return { roster, events, broken, fleet };
}

describe('the fleet', () => {
  it('serves a tenant that was added while it runs, once', async () => {
    const { roster, events, fleet } = stage();
    await fleet.adjustOnce();
    roster.add(GLOBEX);
    await fleet.adjustOnce();
    expect(events.filter((event) => event.startsWith('start'))).toEqual(['start acme', 'start globex']);
    expect(fleet.serving()).toEqual([ACME, GLOBEX]);
  });

  it('stops serving a tenant whose token was taken away', async () => {
    const { roster, events, fleet } = stage();
    await fleet.adjustOnce();
    roster.delete(ACME);
    await fleet.adjustOnce();
    expect(events).toContain('stop acme');
    expect(fleet.serving()).toEqual([]);
  });

  it('a tenant that leaves and comes back while its Worker drains gets the next one only after the drain', async () => {
    const roster = new Set([ACME]);
    const drained = Promise.withResolvers<void>();
    let started = 0;
    const fleet = createFleet({
      tokens: { tenants: async () => [...roster] },
      log: pino({ level: 'silent' }),
      supervise: () => {
        started += 1;
        return { renewToken: async () => undefined, restart: () => undefined, stop: () => drained.promise };
      },
    });
    await fleet.adjustOnce();
    roster.delete(ACME);
    await fleet.adjustOnce();
    roster.add(ACME);
    await fleet.adjustOnce();
    expect(started).toBe(1);
    drained.resolve();
    await drained.promise;
    await new Promise(setImmediate);
    await fleet.adjustOnce();
    expect(started).toBe(2);
  });

  it('one tenant’s broken token keeps nobody else from being renewed or started', async () => {
    const { roster, events, broken, fleet } = stage();
    roster.add(GLOBEX);
    await fleet.adjustOnce();
    broken.add(ACME);
    roster.add(tenantId('initech'));
    await fleet.adjustOnce();
    expect(events).toContain('renew globex');
    expect(events).toContain('start initech');
  });

  it('drains one tenant’s Worker whose key is gone, and no other', async () => {
    const { roster, events, fleet } = stage();
    roster.add(GLOBEX);
    await fleet.adjustOnce();
    fleet.restart(ACME);
    fleet.restart(tenantId('initech'));
    expect(events.filter((event) => event.startsWith('restart'))).toEqual(['restart acme']);
  });

  it('stops every tenant’s Worker at the end', async () => {
    const { roster, events, fleet } = stage();
    roster.add(GLOBEX);
    await fleet.adjustOnce();
    await fleet.stop();
    expect(events.filter((event) => event.startsWith('stop'))).toEqual(['stop acme', 'stop globex']);
  });
});
