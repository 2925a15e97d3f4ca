import { BlockList, isIP } from 'node:net';

/** IPv4 addresses that are not the public internet: our own services, cloud metadata, the machine itself. */
const PRIVATE_4 = blockList('ipv4', [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.31.196.0', 24],
  ['192.52.193.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['192.175.48.0', 24],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
]);

/**
 * In IPv6 the public internet is 2000::/3, and of it not these: tunnels that end at an IPv4 address of anybody's
 * choice (6to4, Teredo), documentation, benchmarks. All that maps or translates IPv4 lies outside 2000::/3.
 */
const GLOBAL_6 = blockList('ipv6', [['2000::', 3]]);
const PRIVATE_6 = blockList('ipv6', [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['2620:4f:8000::', 48],
  ['3fff::', 20],
]);

/** Nobody's service has these: link-local, where clouds hand out credentials, "this host", multicast, broadcast. */
const UNROUTABLE_4 = blockList('ipv4', [
  ['0.0.0.0', 8],
  ['100.100.100.200', 32],
  ['169.254.0.0', 16],
  ['192.0.0.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
]);
const UNROUTABLE_6 = blockList('ipv6', [
  ['fd00:ec2::', 32],
  ['fe80::', 10],
  ['ff00::', 8],
]);

/** Whether this is an address of the public internet; false for what is no address at all. */
export function isPublicAddress(address: string): boolean {
  // a zone names an interface of ours
  if (address.includes('%')) return false;
  const family = isIP(address);
  if (family === 4) return !PRIVATE_4.check(address, 'ipv4');
  return family === 6 && GLOBAL_6.check(address, 'ipv6') && !PRIVATE_6.check(address, 'ipv6');
}

/**
 * Whether even an operator who allows a host by name cannot have meant this address. In IPv6 that is all but ::1, the
 * public and the unique local addresses: what maps IPv4 is another way to write what is refused in IPv4.
 */
export function isUnroutable(address: string): boolean {
  if (isIP(address) === 4) return UNROUTABLE_4.check(address, 'ipv4');
  if (address.includes('%') || isIP(address) !== 6 || UNROUTABLE_6.check(address, 'ipv6')) return true;
  return !NAMEABLE_6.check(address, 'ipv6');
}
const NAMEABLE_6 = blockList('ipv6', [
  ['::1', 128],
  ['fc00::', 7],
]);

/** One family per list: a rule on ::ffff:0:0/96 in one list with IPv4 rules matches every IPv4 address there is. */
function blockList(family: 'ipv4' | 'ipv6', nets: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [net, bits] of nets) list.addSubnet(net, bits, family);
  return list;
}
