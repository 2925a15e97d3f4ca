/** Looks for secrets in any text or bytes, in the encodings in which they tend to travel. */
export interface Hit {
  readonly secret: string;
  readonly form: string;
  readonly where: string;
}

/** Named encodings of a secret; base64 at each of its three alignments, without the characters that depend on neighbours. */
export function formsOf(secret: string): [form: string, text: string][] {
  const bytes = Buffer.from(secret, 'utf8');
  const base64 = [0, 1, 2].flatMap((shift): [string, string][] => {
    const text = Buffer.concat([Buffer.alloc(shift), bytes])
      .toString('base64')
      .replace(/=+$/, '');
    const inner = text.slice(shift === 0 ? 0 : 4, text.length - (text.length % 4 === 0 ? 0 : 1));
    return [
      [`base64+${shift}`, inner],
      [`base64url+${shift}`, inner.replaceAll('+', '-').replaceAll('/', '_')],
    ];
  });
  const forms: [string, string][] = [
    ['raw', secret],
    ['hex', bytes.toString('hex')],
    ['url', encodeURIComponent(secret)],
    ['url-all', [...bytes].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')],
    ['json', JSON.stringify(secret).slice(1, -1)],
    ['reversed', [...secret].toReversed().join('')],
    ...base64,
  ];
  return forms;
}

/** Every hit of every secret in one text. Case is ignored for hex and percent forms, which are written in both. */
export function scan(
  secrets: Readonly<Record<string, string>>,
  where: string,
  content: Buffer | string,
): Hit[] {
  const text = typeof content === 'string' ? content : content.toString('latin1');
  const lower = text.toLowerCase();
  return Object.entries(secrets).flatMap(([name, secret]) =>
    formsOf(secret)
      .filter(([form, needle]) =>
        form === 'hex' || form.startsWith('url')
          ? lower.includes(needle.toLowerCase())
          : text.includes(needle),
      )
      .map(([form]) => ({ secret: name, form, where })),
  );
}

/** A row's text with each bytea (`\x...`) also as the bytes that it holds. */
export function withBytes(row: string): string {
  const bytes = [...row.matchAll(/\\x([0-9a-f]+)/g)].map(([, hex]) =>
    Buffer.from(hex ?? '', 'hex').toString('latin1'),
  );
  return [row, ...bytes].join('\n');
}
