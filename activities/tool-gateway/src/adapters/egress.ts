import { lookup } from 'node:dns';
import type { LookupAddress, LookupOptions } from 'node:dns';
import { BlockList, isIP } from 'node:net';
import type { LookupFunction } from 'node:net';
import { BulkheadError } from '@bulkhead/contract';
import { isPublicAddress, isUnroutable } from './address-guard.js';

/** The network refused to be asked: the address is not one that a tool may reach. */
export class ForbiddenAddress extends Error {
  override readonly name = 'ForbiddenAddress';
  constructor() {
    super('the destination is not on the public internet, and this installation does not allow it');
  }
}

/** Where one request goes. */
export interface Target {
  /** As in a URL; IPv6 in brackets or not. */
  readonly hostname: string;
  readonly port: number;
  /** An agent chose it: what the operator allows for declared tools is not for agents to find. */
  readonly agentChosen: boolean;
}

/** Decides, for each connection, whether the address that it is about to use may be reached. */
export interface Egress {
  /** The look-up of one request; the socket connects to what it answers and to nothing else. */
  lookupFor(target: Target): LookupFunction;
  /** @throws ForbiddenAddress for a host that is written as an address: it is never looked up. */
  checkLiteral(target: Target): void;
}

type Resolve = (
  hostname: string,
  options: LookupOptions & { all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

export interface EgressOptions {
  /**
   * Private places that declared tools may reach: `host:port`, or a network like `10.1.0.0/16` (any port). Link-local
   * addresses, where clouds answer with the machine's own credentials, are reached only when a network names them.
   */
  readonly allow: readonly string[];
  readonly resolve?: Resolve;
}

/** @throws BulkheadError WORKER_MISCONFIGURED that names the entry which is neither `host:port` nor a network. */
export function createEgress({ allow, resolve = lookup }: EgressOptions): Egress {
  const places = new Set<string>();
  const networks = { 4: new BlockList(), 6: new BlockList() };
  for (const entry of allow) addEntry(entry, places, networks);

  const check = (target: Target, address: string): void => {
    if (isPublicAddress(address)) return;
    if (target.agentChosen) throw new ForbiddenAddress();
    const family = isIP(address);
    if (family === 4 && networks[4].check(address, 'ipv4')) return;
    // one list per family: a rule on a mapped network would match every IPv4 address there is
    if (family === 6 && !address.includes('%') && networks[6].check(address, 'ipv6')) return;
    const named = places.has(placeOf(target.hostname, target.port));
    if (!named || isUnroutable(address)) throw new ForbiddenAddress();
  };

  return {
    checkLiteral(target) {
      const host = bare(target.hostname);
      if (isIP(host) !== 0) check(target, host);
    },
    lookupFor: (target) => (hostname, options, callback) => {
      resolve(hostname, { ...options, all: true }, (error, addresses) => {
        if (error) return callback(error, '', 0);
        try {
          // one forbidden address among several refuses the name: the socket may try any of them
          for (const { address } of addresses) check(target, address);
        } catch (refused) {
          return callback(refused as Error, '', 0);
        }
        const [first] = addresses;
        if (options.all) return callback(null, addresses);
        callback(null, first?.address ?? '', first?.family ?? 0);
      });
    },
  };
}

const bare = (hostname: string): string => hostname.replace(/^\[|\]$/g, '').replace(/\.+$/, '');
const placeOf = (hostname: string, port: number): string => JSON.stringify([bare(hostname), port]);

function addEntry(
  entry: string,
  places: Set<string>,
  networks: { readonly 4: BlockList; readonly 6: BlockList },
): void {
  const [, net = '', bits = ''] = /^([0-9a-fA-F.:]+)\/(\d{1,3})$/.exec(entry) ?? [];
  const family = isIP(net);
  if (family === 4 && Number(bits) <= 32) return networks[4].addSubnet(net, Number(bits), 'ipv4');
  if (family === 6 && Number(bits) <= 128) return networks[6].addSubnet(net, Number(bits), 'ipv6');
  // through the URL parser, so that the entry is written as a tool's own URL will be
  const port = Number(/:(\d{1,5})$/.exec(entry)?.[1] ?? 0);
  const url = URL.parse(`http://${entry}/`);
  const plain = url?.username === '' && url.pathname === '/' && url.search === '' && url.hash === '';
  if (!plain || port === 0) {
    throw new BulkheadError('WORKER_MISCONFIGURED', {
      internal: `egress.allow: ${JSON.stringify(entry)} is neither host:port nor a network`,
    });
  }
  places.add(placeOf(url.hostname, port));
}
