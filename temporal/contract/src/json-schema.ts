/**
 * What a schema from outside may cost. It is compiled and run in a process that serves every tenant: one pattern that
 * backtracks, one `$ref` that doubles thirty times, and the process answers nobody for minutes and is fenced. Everything
 * that is refused here is refused when it is declared, never met while a call waits.
 */

/** Subschemas that one validation may visit, references followed. */
const COST_MAX = 5_000;
const PATTERN_LENGTH_MAX = 300;
/** Two that overlap cost the square of the text's length, so such a text must be short. */
const REPEATS_MAX = 2;
const TEXT_LENGTH_MAX = 1_024;

const MAPS = ['properties', 'patternProperties', 'dependentSchemas'];
const LISTS = ['allOf', 'anyOf', 'oneOf', 'prefixItems'];
const SINGLE = [
  'items',
  'additionalProperties',
  'unevaluatedItems',
  'unevaluatedProperties',
  'contains',
  'propertyNames',
  'not',
  'if',
  'then',
  'else',
];
const REFUSED = ['$dynamicRef', '$dynamicAnchor', '$recursiveRef', '$anchor', 'definitions', 'dependencies'];

type Node = { readonly [keyword: string]: unknown };

/** Why this schema may not be used, as a sentence; undefined when nothing speaks against it. */
export function schemaProblem(root: unknown): string | undefined {
  try {
    cost(root, root, new Map(), true);
    return undefined;
  } catch (error) {
    if (error instanceof Unusable) return error.message;
    if (error instanceof RangeError) return 'It is nested too deeply.';
    throw error;
  }
}

class Unusable extends Error {
  override readonly name = 'Unusable';
}

/** Each definition is counted once and its sum reused, so that counting costs no more than reading. */
function cost(root: unknown, node: unknown, known: Map<string, number>, isRoot = false): number {
  if (!isNode(node)) return 1;
  checkKeywords(node, isRoot);
  let sum = 1;
  const add = (child: unknown): void => {
    sum += cost(root, child, known);
    if (sum > COST_MAX) throw new Unusable(`It makes more than ${COST_MAX} checks of one value.`);
  };
  for (const keyword of MAPS)
    if (isNode(node[keyword])) for (const child of Object.values(node[keyword])) add(child);
  for (const keyword of LISTS)
    if (Array.isArray(node[keyword])) for (const child of node[keyword]) add(child);
  for (const keyword of SINGLE) if (keyword in node) add(node[keyword]);
  if (isRoot && isNode(node['$defs']))
    for (const child of Object.values(node['$defs'])) cost(root, child, known);
  if ('$ref' in node) {
    sum += costOfDefinition(root, node['$ref'], known);
    if (sum > COST_MAX) throw new Unusable(`It makes more than ${COST_MAX} checks of one value.`);
  }
  return sum;
}

function costOfDefinition(root: unknown, ref: unknown, known: Map<string, number>): number {
  const name = /^#\/\$defs\/([A-Za-z0-9_-]+)$/.exec(String(ref))?.[1];
  const definitions = isNode(root) ? root['$defs'] : undefined;
  if (name === undefined || !isNode(definitions) || !Object.hasOwn(definitions, name)) {
    throw new Unusable('A $ref must be "#/$defs/<name>" of the same schema.');
  }
  const counted = known.get(name);
  if (counted !== undefined) {
    if (counted === 0) throw new Unusable('A $ref may not lead back to itself.');
    return counted;
  }
  known.set(name, 0);
  const sum = cost(root, definitions[name], known);
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
  const length = node['maxLength'];
  const isShort = typeof length === 'number' && length <= TEXT_LENGTH_MAX;
  if ('pattern' in node) checkPattern(String(node['pattern']), isShort);
  if (isNode(node['patternProperties'])) {
    for (const pattern of Object.keys(node['patternProperties'])) checkPattern(pattern, false);
  }
}

function checkPattern(pattern: string, textIsShort: boolean): void {
  const refuse = (why: string): never => {
    throw new Unusable(`The pattern ${JSON.stringify(pattern.slice(0, 60))} ${why}.`);
  };
  if (pattern.length > PATTERN_LENGTH_MAX) refuse(`is longer than ${PATTERN_LENGTH_MAX} characters`);
  if (/\\[1-9k]|\(\?(?:<?[=!])/.test(pattern)) refuse('looks around or refers back');
  // what is left is what repeats: escapes and classes count as one character
  const shape = pattern.replaceAll(/\\./gs, 'x').replaceAll(/\[\^?\]?[^\]]*\]/g, 'x');
  if (/\)(?:[*+]|\{)/.test(shape)) refuse('repeats a group');
  const repeats = shape.match(/[*+]|\{\d+(?:,\d*)?\}/g)?.length ?? 0;
  if (repeats > REPEATS_MAX) refuse(`repeats more than ${REPEATS_MAX} times`);
  if (repeats > 1 && !textIsShort)
    refuse(`repeats twice and needs a maxLength of at most ${TEXT_LENGTH_MAX}`);
}

const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
