/** A text with each of its characters written plainly, and where in the original each of them stood. */
export interface View {
  readonly text: string;
  /** Where the original of character `index` begins and ends. */
  readonly span: (index: number) => readonly [from: number, to: number];
}

/** How often one writing may be wrapped in another: JSON in a URL in HTML is three. */
const LAYERS_MAX = 4;

/**
 * Other names of a character: `\u0073`, `\u{73}`, `\x73`, `%73`, `&#115;`, `&#x73;`, `&amp;`; and what stands between
 * characters without being one: the backslashes of an escape, and the zero bytes of UTF-16. Each alternative is bounded or
 * consumes all that it repeats, so that no text keeps it busy.
 */
const NAMES =
  /\\+(?:u00([0-9a-f]{2})|u\{0{0,4}([0-9a-f]{2})\}|x([0-9a-f]{2}))?|%([0-9a-f]{2})|&#x0{0,6}([0-9a-f]{1,2});|&#0{0,6}(\d{1,3});|&(amp|lt|gt|quot|apos);|\0+/gi;
const SIGNS = ['\\', '%', '&', '\0'];
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/** The text as it is, then with one layer of names after the other resolved, as long as there are any. */
export function* plainViews(text: string): Generator<View> {
  let view: View = { text, span: (index) => [index, index + 1] };
  yield view;
  for (let layer = 0; layer < LAYERS_MAX; layer += 1) {
    const next = resolved(view);
    if (!next) return;
    yield (view = next);
  }
}

/** The text alone, with every layer of names resolved. */
export function plainest(text: string): string {
  let plain = text;
  for (const view of plainViews(text)) plain = view.text;
  return plain;
}

function resolved(view: View): View | undefined {
  const { text } = view;
  if (!SIGNS.some((sign) => text.includes(sign))) return undefined;
  const parts: string[] = [];
  const from = new Uint32Array(text.length);
  const to = new Uint32Array(text.length);
  let length = 0;
  const put = (part: string, start: number, end: number): void => {
    parts.push(part);
    const isName = part.length !== end - start;
    for (let at = 0; at < part.length; at += 1, length += 1) {
      from[length] = view.span(isName ? start : start + at)[0];
      to[length] = view.span(isName ? end - 1 : start + at)[1];
    }
  };
  let done = 0;
  for (const match of text.matchAll(NAMES)) {
    put(text.slice(done, match.index), done, match.index);
    done = match.index + match[0].length;
    put(charOf(match), match.index, done);
  }
  if (done === 0) return undefined;
  put(text.slice(done), done, text.length);
  return { text: parts.join(''), span: (index) => [from[index] ?? 0, to[index] ?? 0] };
}

function charOf([, u, braced, x, percent, hexEntity, entity, name]: RegExpExecArray): string {
  const hex = u ?? braced ?? x ?? percent ?? hexEntity;
  if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
  if (entity !== undefined) return String.fromCharCode(Number(entity));
  return name === undefined ? '' : (ENTITIES[name.toLowerCase()] ?? '');
}
