import type { Json } from '@bulkhead/contract';

/** The text at a path of a tool's answer, or undefined: answers come from outside and may have any shape. */
export function textAt(value: Json | undefined, ...path: readonly string[]): string | undefined {
  let at: Json | undefined = value;
  for (const name of path) at = isObject(at) ? at[name] : undefined;
  return typeof at === 'string' ? at : undefined;
}

/** A whole number of at least `min` at a name of the input, or `fallback`. */
export function countAt(value: Json | undefined, name: string, min: number, fallback: number): number {
  const at = isObject(value) ? value[name] : undefined;
  return typeof at === 'number' && Number.isInteger(at) && at >= min ? at : fallback;
}

/** At most `max` UTF-16 units of a text, and never half a character: that would be no text, and no tool would take it. */
export const cut = (text: string, max: number): string => {
  const short = text.slice(0, max);
  return short.isWellFormed() ? short : short.slice(0, -1).toWellFormed();
};

const isObject = (value: Json | undefined): value is { readonly [key: string]: Json | undefined } =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
