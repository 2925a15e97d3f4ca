import { describe, expect, it } from 'vitest';
import * as ids from './ids.js';

const ULID = '01kb3v6r2e8m4q7x9z0a1b2c3d';
const acme = ids.tenantId('acme');

describe('ids', () => {
  it('contain their tenant and parse back to it', () => {
    const run = ids.buildRunId(acme, ULID);
    expect(run).toBe(`acme.run.${ULID}`);
    expect(ids.parseRunId(run)).toEqual({ tenantId: 'acme', ulid: ULID });
    expect(ids.parseApprovalId(ids.buildApprovalId(acme, ULID))).toEqual({ tenantId: 'acme', ulid: ULID });
    expect(ids.parseGrantId(ids.buildGrantId(acme, ULID))).toEqual({ tenantId: 'acme', ulid: ULID });
  });

  it('of one kind are not ids of another', () => {
    expect(ids.parseRunId(ids.buildApprovalId(acme, ULID))).toBeUndefined();
    expect(ids.parseGrantId(ids.buildRunId(acme, ULID))).toBeUndefined();
  });

  it.each([
    '',
    'a',
    'Acme',
    'acme.x',
    'acme/x',
    '-acme',
    'acme-',
    ' acme',
    'acme\n',
    'a'.repeat(33),
    null,
    undefined,
    7,
    {},
  ])('refuses %j as a tenant: an omitted or odd tenant is an error, never "all"', (text) => {
    expect(() => ids.tenantId(text)).toThrow(ids.InvalidId);
  });

  it('refuses ids with extra parts, upper case or a wrong length', () => {
    for (const text of [
      `acme.run.${ULID}.x`,
      `acme.run.${ULID.toUpperCase()}`,
      `acme.run.${ULID}0`,
      `.run.${ULID}`,
      7,
    ]) {
      expect(ids.parseRunId(text)).toBeUndefined();
    }
  });

  it('finds the root run of a child workflow, and nothing in a foreign workflow id', () => {
    expect(ids.runIdOfWorkflow(`acme.run.${ULID}/0.1/2.3`)).toBe(`acme.run.${ULID}`);
    expect(ids.runIdOfWorkflow('somebody-elses-workflow')).toBeUndefined();
  });

  it('of tools are dotted lower-case paths of bounded length', () => {
    expect(ids.toolId('helpdesk.ticket.read')).toBe('helpdesk.ticket.read');
    for (const text of [
      'helpdesk',
      'helpdesk.',
      '.read',
      'a.b.c.d.e.f',
      'Help.desk',
      `a.${'b'.repeat(120)}`,
    ]) {
      expect(() => ids.toolId(text)).toThrow(ids.InvalidId);
    }
  });
});
