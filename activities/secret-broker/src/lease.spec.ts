import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { Lease } from './lease.js';

const SECRET = 'sk-12345678';

describe('a lease', () => {
  it('attack: it is logged, serialised, stringified, cloned or listed; the secret does not come out', () => {
    const lease = new Lease(Buffer.from(SECRET), ['api.example.com']);
    const seen = [
      JSON.stringify({ lease }),
      inspect({ lease }, { depth: 9, showHidden: true }),
      `${String(lease)}`,
      JSON.stringify(Object.entries(lease)),
      inspect(structuredClone(lease), { showHidden: true }),
      inspect({ ...lease }),
      new Error(`failed with ${String(lease)}`).stack,
    ].join();
    expect(seen).not.toContain(SECRET);
    expect(seen).not.toContain(Buffer.from(SECRET).toString('hex').match(/../g)?.join(' '));
    expect(lease.reveal()).toBe(SECRET);
  });

  it('wipes its memory at the end and gives nothing out afterwards', () => {
    const memory = Buffer.from(SECRET);
    const lease = new Lease(memory, ['api.example.com']);
    lease.end();
    expect(memory.every((byte) => byte === 0)).toBe(true);
    expect(() => lease.reveal()).toThrow('has ended');
    lease.end();
  });
});
