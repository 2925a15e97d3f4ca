import { describe, expect, it } from 'vitest';
import { ROLES } from '@bulkhead/tenancy/admin';
import { accessOf } from './access.js';
import { PERMISSIONS, reachOf, TENANT_WIDE } from './roles.js';

const ME = 'user:me';
const of = (role: Parameters<typeof accessOf>[0]['role'], more = {}) =>
  accessOf({ role, responsible: ME, ...more });

describe('roles', () => {
  it('let a viewer read and nothing else, and no keys or members', () => {
    const viewer = of('viewer');
    const held = PERMISSIONS.filter((permission) => viewer.can(permission));
    expect(held.every((permission) => permission.endsWith(':read'))).toBe(true);
    for (const closed of ['key:read', 'member:read', 'audit:read'] as const) {
      expect(viewer.can(closed)).toBe(false);
    }
  });

  it('let an admin do all that any other role of a tenant may (or no admin could give a role)', () => {
    const beyond = ROLES.flatMap((role) =>
      PERMISSIONS.filter((permission) => reachOf(role, permission) && !of('admin').can(permission)),
    );
    expect(beyond).toEqual([]);
  });

  it('let operators of the platform touch nothing that belongs to a tenant', () => {
    const held = PERMISSIONS.filter((permission) => of('platform').can(permission));
    expect(held).toEqual(['tenant:read', 'quota:grant', 'ui:sign-in', 'tenant:lifecycle']);
    for (const role of ROLES) expect(of(role).can('tenant:lifecycle')).toBe(false);
  });
});

describe('the reach of a caller', () => {
  it('is the same for a single row and for a list', () => {
    const limited = of('admin', { workspaceId: 'blue' });
    expect(limited.where('run:read')).toEqual({ AND: [{ OR: [{ workspaceId: 'blue' }] }] });
    expect(limited.covers('run:read', { workspaceId: 'blue' })).toBe(true);
    expect(limited.covers('run:read', { workspaceId: 'red' })).toBe(false);
    expect(limited.covers('run:read', {})).toBe(false);
    expect(limited.covers('run:read', { workspaceId: null })).toBe(false);
    expect(limited.where('workspace:read')).toEqual({ AND: [{ OR: [{ id: 'blue' }] }] });
    expect(limited.workspaces('run:read')).toEqual(['blue']);
  });

  it('has nothing of the whole tenant when it is one workspace', () => {
    for (const permission of TENANT_WIDE)
      expect(of('admin', { workspaceId: 'blue' }).can(permission)).toBe(false);
  });

  it('is what a key was given of its role, and never more than its person has', () => {
    const key = of('admin', { subset: ['run:read', 'nonsense'], bound: 'viewer' });
    expect(PERMISSIONS.filter((permission) => key.can(permission))).toEqual(['run:read']);
    expect(of('admin', { bound: 'viewer' }).can('run:start')).toBe(false);
  });

  it('is their own keys only, for those who may not see all', () => {
    const operator = of('operator');
    expect(operator.covers('key:revoke', { owner: ME })).toBe(true);
    expect(operator.covers('key:revoke', { owner: 'user:other' })).toBe(false);
    expect(operator.covers('key:revoke', { owner: null })).toBe(false);
    expect(operator.where('key:read')).toEqual({ AND: [{ OR: [{ owner: ME }] }] });
  });

  it('is every workspace without a limit, none without a rule, and never less than what a rule says', () => {
    expect(of('viewer').workspaces('run:read')).toBeUndefined();
    expect(of('viewer').workspaces('key:read')).toEqual([]);
    expect(of('admin', { workspaceId: 'blue', subset: [] }).workspaces('run:read')).toEqual([]);
    expect(() => of('operator').workspaces('key:read')).toThrow('more than a workspace');
  });

  it('is not shared by callers who differ in anything', () => {
    const blue = of('viewer', { workspaceId: 'blue' });
    expect(of('viewer', { workspaceId: 'blue' })).toBe(blue);
    expect(of('viewer', { workspaceId: 'red' }).workspaces('run:read')).toEqual(['red']);
    expect(of('operator').covers('key:revoke', { owner: ME })).toBe(true);
    expect(accessOf({ role: 'operator', responsible: 'user:you' }).covers('key:revoke', { owner: ME })).toBe(
      false,
    );
  });

  it('is nothing where there is no rule: the filter of a list matches no row', () => {
    expect(of('viewer').where('key:read')).toEqual({ AND: [{ tenantId: { in: [] } }] });
    expect(of('viewer').covers('key:read', { owner: ME })).toBe(false);
  });
});
