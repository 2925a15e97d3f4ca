import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { routeOf } from './route.js';

const OWN = 'tnt-acme';
const kind = (target: string): string => routeOf(target, OWN).kind;

describe('what of Temporal UI passes', () => {
  it.each([
    ['/temporal', 'asset'],
    ['/temporal/', 'asset'],
    ['/temporal/namespaces/tnt-acme/workflows', 'asset'],
    ['/temporal/_app/immutable/entry/start.abc.js', 'asset'],
    ['/temporal/api/v1/settings', 'asset'],
    ['/temporal/api/v1/settings?', 'asset'],
    ['/temporal/api/v1/cluster-info', 'system'],
    ['/temporal/api/v1/system-info', 'system'],
    ['/temporal/api/v1/namespaces?pageSize=100', 'namespaces'],
    ['/temporal/api/v1/namespaces/tnt-acme', 'tenant'],
    ['/temporal/api/v1/namespaces/tnt-acme/workflows?query=%60WorkflowId%60%3D%22x%22', 'tenant'],
    ['/temporal/api/v1/namespaces/tnt-acme/workflows/acme.run.01%2F0.1/history', 'tenant'],
  ])('%s: %s', (target, expected) => {
    expect(kind(target)).toBe(expected);
  });

  it.each([
    ['another tenant', '/temporal/api/v1/namespaces/tnt-globex/workflows'],
    ['another tenant by prefix', '/temporal/api/v1/namespaces/tnt-acme2/workflows'],
    ['another tenant by case', '/temporal/api/v1/namespaces/TNT-ACME/workflows'],
    ['another tenant, encoded', '/temporal/api/v1/namespaces/tnt-%67lobex/workflows'],
    ['climbing out', '/temporal/api/v1/namespaces/tnt-acme/../tnt-globex/workflows'],
    ['climbing out, encoded', '/temporal/api/v1/namespaces/tnt-acme/%2e%2e/tnt-globex/workflows'],
    ['climbing out inside a segment', '/temporal/api/v1/namespaces/tnt-acme/..%2ftnt-globex/workflows'],
    ['climbing out with a backslash', '/temporal/api/v1/namespaces/tnt-acme/..%5ctnt-globex/workflows'],
    ['encoded twice', '/temporal/api/v1/namespaces/tnt-acme/%252e%252e/tnt-globex'],
    ['an empty segment', '/temporal/api/v1//namespaces/tnt-globex'],
    ['an asset that climbs into the API', '/temporal/x/../api/v1/namespaces/tnt-globex'],
    ['the API under an encoded name', '/temporal/%61pi/v1/namespaces/tnt-globex/workflows'],
    ['the API behind an encoded slash', '/temporal/api%2Fv1%2Fnamespaces%2Ftnt-globex/workflows'],
    ['the API behind a parameter', '/temporal/api;x=1/v1/namespaces/tnt-globex/workflows'],
    ['the API under another case', '/temporal/API/v1/namespaces/tnt-globex/workflows'],
    ['an unknown read of the system', '/temporal/api/v1/cluster/search-attributes'],
    ['all clusters', '/temporal/api/v1/clusters'],
    ['a read that nobody decided on', '/temporal/api/v1/namespaces/tnt-acme/novelties'],
    ['a read below one that passes', '/temporal/api/v1/namespaces/tnt-acme/workflows/x/history/y'],
    ['another version', '/temporal/api/v2/namespaces/tnt-acme'],
    ['the sign-in of the UI server', '/temporal/auth/sso'],
    ['outside', '/graphql'],
    ['a neighbour by prefix', '/temporalx/api/v1/settings'],
    ['broken encoding', '/temporal/api/v1/namespaces/tnt-acme/%zz'],
  ])('refuses %s', (_attack, target) => {
    expect(kind(target)).toBe('refused');
  });

  it('drops the query where it could name another namespace (?id=)', () => {
    expect(routeOf('/temporal/api/v1/namespaces/tnt-acme?id=0000-of-globex', OWN)).toEqual({
      kind: 'tenant',
      path: '/temporal/api/v1/namespaces/tnt-acme',
    });
  });

  it('never lets a path through that an URL parser would resolve to another namespace', () => {
    const part = fc.constantFrom(
      '..',
      '.',
      '%2e',
      '%2e%2e',
      '.%2E',
      '%2f',
      '%5c',
      '',
      'tnt-acme',
      'tnt-globex',
      'api',
      'v1',
      'namespaces',
      'x',
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
        const target = `/temporal/api/v1/namespaces/tnt-acme/${parts.join('/')}`;
        const route = routeOf(target, OWN);
        if (route.kind === 'refused') return;
        // what a server may make of it: decoded once or not, dot segments resolved
        for (const seen of [target, decodeURIComponent(target)]) {
          expect(new URL(seen, 'http://ui').pathname.startsWith('/temporal/api/v1/namespaces/tnt-acme')).toBe(
            true,
          );
        }
      }),
    );
  });
});
