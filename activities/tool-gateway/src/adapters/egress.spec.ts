import { describe, expect, it } from 'vitest';
import { createEgress, ForbiddenAddress } from './egress.js';
import type { Target } from './egress.js';

/** What the look-up of a name answers the socket, with a resolver that knows the addresses given. */
function reach(allow: readonly string[], target: Partial<Target>, addresses: readonly string[]) {
  const whole: Target = { hostname: 'tools.example', port: 443, agentChosen: false, ...target };
  const egress = createEgress({
    allow,
    resolve: (_, __, callback) =>
      callback(
        null,
        addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      ),
  });
  return new Promise((resolve) => {
    try {
      egress.checkLiteral(whole);
    } catch (error) {
      return resolve(error);
    }
    egress.lookupFor(whole)(whole.hostname, { all: true }, (error, found) => resolve(error ?? found));
  });
}
const refused = expect.any(ForbiddenAddress) as unknown;
const reached = expect.any(Array) as unknown;

describe('where tools may go', () => {
  it('the public internet, and nothing of our own network', async () => {
    expect(await reach([], {}, ['1.1.1.1', '2606:4700::1'])).toEqual(reached);
    expect(await reach([], {}, ['10.0.0.1'])).toEqual(refused);
    expect(await reach([], { hostname: '10.0.0.1' }, [])).toEqual(refused);
    expect(await reach([], { hostname: '[::1]' }, [])).toEqual(refused);
  });

  it('attack: one private address among public ones refuses the name', async () => {
    expect(await reach([], {}, ['1.1.1.1', '127.0.0.1'])).toEqual(refused);
    expect(await reach([], {}, ['1.1.1.1', '::ffff:10.0.0.1'])).toEqual(refused);
  });

  it('a private place that the operator names, at that port', async () => {
    const allow = ['desk.internal:8443', '[fd12::7]:443'];
    expect(await reach(allow, { hostname: 'desk.internal', port: 8443 }, ['10.0.0.1'])).toEqual(reached);
    expect(await reach(allow, { hostname: 'desk.internal', port: 443 }, ['10.0.0.1'])).toEqual(refused);
    expect(await reach(allow, { hostname: 'other.internal', port: 8443 }, ['10.0.0.1'])).toEqual(refused);
    expect(await reach(allow, { hostname: '[fd12::7]' }, ['fd12::7'])).toEqual(reached);
  });

  it('a network that the operator names, at any port', async () => {
    expect(await reach(['10.1.0.0/16'], {}, ['10.1.2.3'])).toEqual(reached);
    expect(await reach(['10.1.0.0/16'], {}, ['10.2.0.1'])).toEqual(refused);
    expect(await reach(['fd00::/8'], {}, ['fd12::1'])).toEqual(reached);
  });

  it('attack: a name that the operator allows answers with the address of the cloud and its credentials', async () => {
    const allow = ['desk.internal:443'];
    const target = { hostname: 'desk.internal' };
    for (const address of [
      '169.254.169.254',
      'fe80::1',
      'fd00:ec2::254',
      '0.0.0.0',
      '::ffff:169.254.169.254',
    ]) {
      expect(await reach(allow, target, [address])).toEqual(refused);
    }
    expect(await reach(['169.254.169.254/32'], target, ['169.254.169.254'])).toEqual(reached);
  });

  it('attack: an agent finds what was allowed for the tools of an admin', async () => {
    expect(await reach(['10.0.0.0/8'], { agentChosen: true }, ['10.0.0.1'])).toEqual(refused);
    expect(await reach(['tools.example:443'], { agentChosen: true }, ['10.0.0.1'])).toEqual(refused);
  });

  it.each(['10.0.0.0/33', '10.0.0.0', 'desk.internal', 'http://desk:80/x', 'a@desk:80', 'desk:0', '/8', '*'])(
    'the entry %j is neither host:port nor a network, and the host does not start with it',
    (entry) => {
      expect(() => createEgress({ allow: [entry] })).toThrow(/egress.allow/);
    },
  );
});
