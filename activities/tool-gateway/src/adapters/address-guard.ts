import { lookup } from 'node:dns';
import type { LookupAddress } from 'node:dns';
import { BlockList, isIP } from 'node:net';
import type { LookupFunction } from 'node:net';

/** Addresses that are not the public internet: our own services, cloud metadata, the machine itself. */
const PRIVATE_4 = new BlockList();
/** A list of its own: a rule on ::ffff:0:0/96 in one list with IPv4 rules matches every IPv4 address there is. */
const PRIVATE_6 = new BlockList();
for (const [net, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const) {
  PRIVATE_4.addSubnet(net, bits, 'ipv4');
}
for (const [net, bits] of [
  ['::', 96],
  ['::ffff:0:0', 96],
  ['::ffff:0:0:0', 96],
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['100::', 64],
  ['2001::', 23],
  ['2002::', 16],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
] as const) {
  PRIVATE_6.addSubnet(net, bits, 'ipv6');
}

export class PrivateAddress extends Error {
  override readonly name = 'PrivateAddress';
  constructor() {
    super('the destination is not on the public internet');
  }
}

/** @throws PrivateAddress for an address that an agent may not choose as a destination. */
export function assertPublic(address: string): void {
  const family = isIP(address);
  const isPublic =
    (family === 4 && !PRIVATE_4.check(address, 'ipv4')) ||
    (family === 6 && !PRIVATE_6.check(address, 'ipv6'));
  if (!isPublic) throw new PrivateAddress();
}

/**
 * Resolves as the socket will connect: a check before the request could be answered with another address a moment
 * later (DNS rebinding). One private address among several refuses the name.
 */
export const publicLookup: LookupFunction = (hostname, options, callback) => {
  lookup(hostname, { ...options, all: true }, (error, addresses: LookupAddress[]) => {
    if (error) return callback(error, '', 0);
    try {
      for (const { address } of addresses) assertPublic(address);
    } catch (refused) {
      return callback(refused as Error, '', 0);
    }
    const [first] = addresses;
    if (options.all) return callback(null, addresses);
    callback(null, first?.address ?? '', first?.family ?? 0);
  });
};
