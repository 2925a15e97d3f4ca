import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tenantId, toolId } from '@bulkhead/contract';
import { callKey, idempotencyKey } from './call-key.js';

const base = {
  tenantId: tenantId('acme'),
  workflowId: 'acme.run.x',
  segment: 0,
  toolId: toolId('a.b'),
  args: { x: 1, y: [2] },
  n: 0,
};

describe('call key', () => {
  it('does not change between versions: a stored effect must be found again', () => {
    expect(callKey(base)).toBe('a9bfd6bfff757a3886ced894ff46ae22d83fc996aedb5a1f968d1d61b0ddb899');
  });

  it('does not depend on the order of keys', () => {
    expect(callKey({ ...base, args: { y: [2], x: 1 } })).toBe(callKey(base));
  });

  it('differs when any part differs, and parts cannot be shifted into each other', () => {
    const others = [
      { tenantId: tenantId('acm') },
      { workflowId: 'acme.run.x/0.1' },
      { segment: 1 },
      { toolId: toolId('a.c') },
      { args: { x: 1, y: ['2'] } },
      { args: null },
      { n: 1 },
    ].map((other) => callKey({ ...base, ...other }));
    expect(new Set([callKey(base), ...others]).size).toBe(others.length + 1);
    fc.assert(
      fc.property(fc.string(), fc.string(), (a, b) => {
        fc.pre(a !== b && a.isWellFormed() && b.isWellFormed());
        expect(callKey({ ...base, workflowId: a })).not.toBe(callKey({ ...base, workflowId: b }));
      }),
    );
  });

  it('is not learnt from the idempotency key that a tool sees', () => {
    expect(idempotencyKey(callKey(base))).toMatch(/^bh-[0-9a-f]{40}$/);
    expect(callKey(base)).not.toContain(idempotencyKey(callKey(base)).slice(3));
  });
});
