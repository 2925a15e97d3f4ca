/** A schema that is refused; the message is a sentence for whoever declared it. */
export class Unusable extends Error {
  override readonly name = 'Unusable';
}

const PATTERN_LENGTH_MAX = 300;
/** Places at which a match may have to choose anew. Two cost the square of the text's length, so such a text is short. */
const CHOICES_MAX = 2;
const TEXT_LENGTH_MAX = 1_024;

/**
 * Steps that matching takes per character of the text, at worst, with an engine that backtracks.
 * @param lengthMax of the text, in characters; Infinity when nothing bounds it
 * @throws Unusable for a pattern whose steps nobody can bound
 */
export function patternSteps(pattern: string, lengthMax: number): number {
  const refuse = (why: string): never => {
    throw new Unusable(`The pattern ${JSON.stringify(pattern.slice(0, 60))} ${why}.`);
  };
  if (pattern.length > PATTERN_LENGTH_MAX) refuse(`is longer than ${PATTERN_LENGTH_MAX} characters`);
  if (/\\[1-9k]|\(\?(?:<?[=!])/.test(pattern)) refuse('looks around or refers back');
  const shape = shapeOf(pattern);
  if (/\)(?:[*+]|\{)/.test(shape)) refuse('repeats a group');
  const { ways, isAnchored } = waysThrough(shape);
  const repeats = shape.match(/[*+]|\{\d+,\d*\}/g)?.length ?? 0;
  // without ^ it is tried at each character of the text, which is a repeat like any other
  const choices = repeats + (isAnchored ? 0 : 1);
  if (choices > CHOICES_MAX) {
    refuse(isAnchored ? 'repeats more than twice' : 'repeats more than once and does not begin with ^');
  }
  if (choices === CHOICES_MAX && lengthMax > TEXT_LENGTH_MAX) {
    refuse(
      `repeats ${isAnchored ? 'twice' : 'and does not begin with ^'}: it needs a maxLength of at most ${TEXT_LENGTH_MAX}`,
    );
  }
  const tail = choices === 0 ? 1 : fixedLength(shape);
  return ways * tail * (choices === CHOICES_MAX ? Math.max(1, lengthMax / 2) : 1);
}

/** What is left is structure: escapes and classes are one character, a group is one of its plain kind, nothing is lazy. */
function shapeOf(pattern: string): string {
  return pattern
    .replaceAll(/\\(?:[pPu]\{[^}]*\}|.)/gs, 'x') // all of it, or a `?` behind `\p{L}` would read like a lazy repeat
    .replaceAll(/\[[^\]]*\]/g, 'x') // `[]` and `[^]` are whole classes: a bracket behind them closes nothing
    .replaceAll(/\(\?(?:<\w+>|[a-z-]*:)/g, '(')
    .replaceAll(/([*+?}])\?/g, '$1');
}

/** Each `?` doubles the ways through a pattern, each `|` adds one; all of them may have to be tried. */
function waysThrough(shape: string): { ways: number; isAnchored: boolean } {
  let ways = 2 ** (shape.match(/\?/g)?.length ?? 0);
  let rest = shape;
  for (let inner = innermost(rest); inner; inner = innermost(rest)) {
    ways *= alternatives(inner[0]);
    rest = rest.replace(inner[0], 'x');
  }
  return { ways: ways * alternatives(rest), isAnchored: rest.startsWith('^') && !rest.includes('|') };
}

const innermost = (shape: string): RegExpExecArray | null => /\([^()]*\)/.exec(shape);
const alternatives = (shape: string): number => shape.split('|').length;

/** Characters of a match that repeats nothing, `{n}` written out; never too few. */
function fixedLength(shape: string): number {
  const counts = [...shape.matchAll(/\{(\d+)/g)].map(([, count]) => Number(count));
  return counts.reduce((sum, count) => sum + count, Math.max(1, shape.length));
}
