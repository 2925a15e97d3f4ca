import { describe, expect, it } from 'vitest';
import { mayDo } from './permission.js';

describe('roles', () => {
  it('let a viewer read and nothing else', () => {
    expect(mayDo('viewer', 'run:read')).toBe(true);
    for (const change of ['run:start', 'approval:decide', 'ui:sign-in'] as const) {
      expect(mayDo('viewer', change)).toBe(false);
      expect(mayDo('operator', change)).toBe(true);
      expect(mayDo('admin', change)).toBe(true);
    }
  });
});
