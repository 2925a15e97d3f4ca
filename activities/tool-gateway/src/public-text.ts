/** Characters of a message at most; what a tool or a caller wrote can be far longer. */
const MESSAGE_MAX = 400;

/**
 * A text from outside as it may stand in a reason: bounded, and such that every database column and JSON document can
 * hold it. Cut last: what is redacted after the cut would keep the first half of a credential that lies across it.
 */
export function publicText(text: string): string {
  const short = text.length > MESSAGE_MAX ? `${text.slice(0, MESSAGE_MAX)}...` : text;
  return short.toWellFormed().replaceAll('\u0000', '\uFFFD');
}
