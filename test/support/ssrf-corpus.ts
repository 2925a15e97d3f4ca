/** Ways to say "a machine of ours" in a URL: what an agent, a tenant's admin or a redirect may try. */

export interface SsrfCase {
  readonly url: string;
  /** What the test's resolver answers, call by call; the last one stays. Empty: the host is an address. */
  readonly answers: readonly (readonly string[])[];
}

/** Loopback, private, shared, link-local, metadata of clouds, "this host", benchmarks, multicast, broadcast. */
const FORBIDDEN_4 = [
  '127.0.0.1',
  '127.255.255.254',
  '0.0.0.0',
  '10.0.0.1',
  '100.64.0.1',
  '100.100.100.200',
  '169.254.169.254',
  '169.254.170.2',
  '172.16.0.1',
  '172.31.255.255',
  '192.0.0.192',
  '192.168.0.1',
  '198.18.0.1',
  '224.0.0.1',
  '255.255.255.255',
] as const;

const FORBIDDEN_6 = [
  '::',
  '::1',
  '0:0:0:0:0:0:0:1',
  '100::1',
  'fc00::1',
  'fd00:ec2::254',
  'fe80::1',
  'fec0::1',
  'ff02::1',
  '2001:db8::1',
  '3fff::1',
  '5f00::1',
] as const;

const hex = (value: number, width = 2): string => value.toString(16).padStart(width, '0');

/** One IPv4 address in every coat that a URL parser, a resolver or a tunnel takes off again. */
export function spellings(address: string): string[] {
  const [a = 0, b = 0, c = 0, d = 0] = address.split('.').map(Number);
  const dword = ((a * 256 + b) * 256 + c) * 256 + d;
  const high = hex(a) + hex(b);
  const low = hex(c) + hex(d);
  const fullwidth = [...address].map((char) =>
    char === '.' ? '。' : String.fromCodePoint(0xff10 + Number(char)),
  );
  return [
    address,
    `${address}.`,
    String(dword),
    `0x${hex(dword, 8)}`,
    `0${dword.toString(8)}`,
    [a, b, c, d].map((part) => `0${part.toString(8)}`).join('.'),
    [a, b, c, d].map((part) => `0x${hex(part)}`).join('.'),
    `0x${hex(a)}.${(b * 256 + c) * 256 + d}`,
    `${a}.0${b.toString(8)}.${c * 256 + d}`,
    [...address].map((char) => `%${hex(char.codePointAt(0) ?? 0)}`).join(''),
    fullwidth.join(''),
    `[::ffff:${address}]`,
    `[::ffff:${high}:${low}]`,
    `[::ffff:0:${high}:${low}]`,
    `[::${high}:${low}]`,
    `[64:ff9b::${high}:${low}]`,
    `[64:ff9b:1::${high}:${low}]`,
    `[2002:${high}:${low}::1]`,
    `[2001:0:${high}:${low}::1]`,
  ];
}

/** Every case at `port`, in http and https by turns. */
export function ssrfCorpus(port: number): SsrfCase[] {
  const literal = (host: string, index: number): SsrfCase => ({
    url: `${index % 4 === 3 ? 'https' : 'http'}://${host}:${port}/latest/meta-data/`,
    answers: [],
  });
  const named = (name: string, ...answers: (readonly string[])[]): SsrfCase => ({
    url: `http://${name}:${port}/`,
    answers,
  });
  const all = [...FORBIDDEN_4, ...FORBIDDEN_6];
  const hosts = [...FORBIDDEN_4.flatMap(spellings), ...FORBIDDEN_6.map((address) => `[${address}]`)];
  return [
    ...hosts.map(literal),
    // a login that looks like the host, and the other way round
    ...FORBIDDEN_4.slice(0, 8).flatMap((address) => [
      { url: `http://tools.example@${address}:${port}/`, answers: [] },
      { url: `http://tools.example:443@${address}:${port}/#@tools.example`, answers: [] },
      { url: `http://tools.example\\@${address}:${port}/`, answers: [[address]] },
    ]),
    // names that are ours, and names of others that answer with ours
    ...['localhost', 'LOCALHOST', 'localhost.', 'ⓛocalhost', 'sub.localhost', 'metadata.google.internal'].map(
      (name) => named(name, ['127.0.0.1']),
    ),
    ...all.map((address, index) => named(`a${index}.rebind.example`, [address])),
    ...all.map((address, index) => named(`b${index}.rebind.example`, ['1.1.1.1', address])),
    ...FORBIDDEN_4.map((address, index) => named(`c${index}.rebind.example`, [`::ffff:${address}`])),
  ];
}
