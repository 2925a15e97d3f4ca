import { patternSteps, Unusable } from './json-pattern.js';

/**
 * What a schema from outside may cost. It is compiled and run in a process that serves every tenant: one pattern that
 * backtracks, one `$ref` that doubles thirty times, one list of alternatives that each of 65,000 elements is held against,
 * and the process answers nobody for minutes and is fenced. Everything that is refused here is refused when it is
 * declared, never met while a call waits. At the bounds one check of the largest value takes about a second.
 */

/**
 * Subschemas that a value may be held against once, references followed. Each is a level of nesting in the code that ajv
 * makes of them, and of a few thousand levels the engine's parser runs out of stack when the first call comes.
 */
const CHECKS_MAX = 1_000;
/** The same for what is checked again for each element, key or further property: a value may have 65,000 of these. */
const CHECKS_EACH_MAX = 250;
/** An alternative that does not fit leaves an error behind, which costs more than a check that passes. */
const ALTERNATIVE = 5;
/** Values of an enum that are compared as fast as one subschema is checked. */
const ENUM_VALUES_PER_CHECK = 25;
/** Steps per character of a text, all patterns and lengths that it may be held against together. */
const STEPS_MAX = 5_000;

const KEYWORDS: readonly (readonly [keyword: string, kind: Kind])[] = [
  ['properties', 'value'],
  ['dependentSchemas', 'value'],
  ['patternProperties', 'each'],
  ['allOf', 'value'],
  ['anyOf', 'alternative'],
  ['oneOf', 'alternative'],
  ['prefixItems', 'value'],
  ['items', 'each'],
  ['additionalProperties', 'each'],
  ['unevaluatedItems', 'each'],
  ['unevaluatedProperties', 'each'],
  ['contains', 'each'],
  ['propertyNames', 'each'],
  ['not', 'alternative'],
  ['if', 'alternative'],
  ['then', 'value'],
  ['else', 'value'],
];
const MAPS = new Set(['properties', 'patternProperties', 'dependentSchemas']);
const LISTS = new Set(['allOf', 'anyOf', 'oneOf', 'prefixItems']);
const REFUSED = ['$dynamicRef', '$dynamicAnchor', '$recursiveRef', '$anchor', 'definitions', 'dependencies'];

type Node = { readonly [keyword: string]: unknown };

/** What holding one value against a schema costs. */
interface Cost {
  /** Checks of the value itself, and of its named properties. */
  checks: number;
  /** Checks of each value among its elements or further properties. */
  each: number;
  /** Steps per character of a text in it. */
  steps: number;
}

/** Why this schema may not be used, as a sentence; undefined when nothing speaks against it. */
export function schemaProblem(root: unknown): string | undefined {
  try {
    costOf(root, root, new Map(), true);
    return undefined;
  } catch (error) {
    if (error instanceof Unusable) return error.message;
    if (error instanceof RangeError) return 'It is nested too deeply.';
    throw error;
  }
}

/** Each definition is counted once and its sum reused, so that counting costs no more than reading. */
function costOf(root: unknown, node: unknown, known: Map<string, Cost | undefined>, isRoot = false): Cost {
  if (!isNode(node)) return { checks: 1, each: 0, steps: 0 };
  checkKeywords(node, isRoot);
  const sum: Cost = { checks: 1 + enumChecks(node['enum']), each: 0, steps: ownSteps(node) };
  const add = (child: Cost, more = 0): void => {
    sum.checks += child.checks + more;
    sum.each += child.each;
    sum.steps += child.steps;
    checkBounds(sum);
  };
  const addEach = (child: Cost): void =>
    add({ checks: 1, each: child.each + child.checks, steps: child.steps });
  for (const [child, kind] of childrenOf(node)) {
    const cost = costOf(root, child, known);
    if (kind === 'each') addEach(cost);
    else add(cost, kind === 'alternative' ? ALTERNATIVE - 1 : 0);
  }
  if (isRoot && isNode(node['$defs']))
    for (const child of Object.values(node['$defs'])) costOf(root, child, known);
  if ('$ref' in node) add(costOfDefinition(root, node['$ref'], known));
  return sum;
}

function checkBounds({ checks, each, steps }: Cost): void {
  if (checks > CHECKS_MAX) throw new Unusable(`It makes more than ${CHECKS_MAX} checks of one value.`);
  if (each > CHECKS_EACH_MAX) {
    throw new Unusable(
      `It makes more than ${CHECKS_EACH_MAX} checks of each element (an alternative counts ${ALTERNATIVE}).`,
    );
  }
  if (steps > STEPS_MAX) {
    throw new Unusable(
      'Its patterns together take too long: begin them with ^, or give their texts a smaller maxLength.',
    );
  }
}

/** Whether a subschema holds for the value, for each value in it, or is one of several that the value is held against. */
type Kind = 'value' | 'each' | 'alternative';

function* childrenOf(node: Node): Generator<readonly [child: unknown, kind: Kind]> {
  for (const [keyword, kind] of KEYWORDS) {
    const found = node[keyword];
    if (MAPS.has(keyword)) {
      if (isNode(found)) for (const child of Object.values(found)) yield [child, kind];
    } else if (LISTS.has(keyword)) {
      if (Array.isArray(found)) for (const child of found as unknown[]) yield [child, kind];
    } else if (keyword in node) yield [found, kind];
  }
}

function costOfDefinition(root: unknown, ref: unknown, known: Map<string, Cost | undefined>): Cost {
  const name = /^#\/\$defs\/([A-Za-z0-9_-]+)$/.exec(String(ref))?.[1];
  const definitions = isNode(root) ? root['$defs'] : undefined;
  if (name === undefined || !isNode(definitions) || !Object.hasOwn(definitions, name)) {
    throw new Unusable('A $ref must be "#/$defs/<name>" of the same schema.');
  }
  const counted = known.get(name);
  if (counted !== undefined) return counted;
  if (known.has(name)) throw new Unusable('A $ref may not lead back to itself.');
  known.set(name, undefined);
  const sum = costOf(root, definitions[name], known);
  known.set(name, sum);
  return sum;
}

function checkKeywords(node: Node, isRoot: boolean): void {
  for (const keyword of REFUSED) if (keyword in node) throw new Unusable(`${keyword} is not supported.`);
  if (!isRoot && ('$id' in node || '$defs' in node)) {
    throw new Unusable('$id and $defs may stand at the top only.');
  }
  // compares every element with every other
  if (node['uniqueItems'] === true) throw new Unusable('uniqueItems is not supported.');
}

/** Whole numbers, texts and the like are compared at once, objects and lists each by what is in them. */
function enumChecks(values: unknown): number {
  if (!Array.isArray(values)) return 0;
  const large = values.filter((value) => typeof value === 'object' && value !== null).length;
  return large + Math.floor((values.length - large) / ENUM_VALUES_PER_CHECK);
}

function ownSteps(node: Node): number {
  const length = node['maxLength'];
  const lengthMax = typeof length === 'number' ? length : Infinity;
  // each counts the characters of the text
  let steps = Number('maxLength' in node) + Number('minLength' in node);
  if ('pattern' in node) steps += patternSteps(String(node['pattern']), lengthMax);
  if (isNode(node['patternProperties'])) {
    for (const pattern of Object.keys(node['patternProperties'])) steps += patternSteps(pattern, Infinity);
  }
  return steps;
}

const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
