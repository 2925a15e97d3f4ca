import {
  getNamedType,
  isEnumType,
  isInputObjectType,
  isLeafType,
  getNullableType,
  isListType,
  isNonNullType,
  isObjectType,
} from 'graphql';
import type { GraphQLField, GraphQLInputType, GraphQLOutputType, GraphQLSchema } from 'graphql';

/** One place in the API where a caller names something: `Mutation.startRun(input.agentId)`. */
export interface Slot {
  readonly name: string;
  readonly field: string;
  /** Path inside the variables. */
  readonly path: readonly string[];
}

export interface RootField {
  readonly kind: 'query' | 'mutation' | 'subscription';
  readonly name: string;
  /** `Query.run` */
  readonly full: string;
  /** A whole document with every argument as a variable and every field that can be selected. */
  readonly document: string;
  /** Variables that are well formed. */
  variables(): Record<string, unknown>;
  readonly slots: readonly Slot[];
  /** Every argument and input field that takes text, ids and lists of texts included. */
  readonly texts: readonly TextPlace[];
}

export interface TextPlace {
  readonly path: readonly string[];
  readonly isId: boolean;
  readonly isList: boolean;
}

/** Every query, mutation and subscription of the schema, with the slots that name something. */
export function rootFields(schema: GraphQLSchema): RootField[] {
  const roots = [
    ['query', schema.getQueryType()],
    ['mutation', schema.getMutationType()],
    ['subscription', schema.getSubscriptionType()],
  ] as const;
  return roots.flatMap(([kind, type]) =>
    Object.values(type?.getFields() ?? {}).map((field) => rootField(kind, type?.name ?? '', field)),
  );
}

function rootField(kind: RootField['kind'], type: string, field: GraphQLField<unknown, unknown>): RootField {
  const declared = field.args.map((arg) => `$${arg.name}: ${String(arg.type)}`).join(', ');
  const given = field.args.map((arg) => `${arg.name}: $${arg.name}`).join(', ');
  const head = declared === '' ? kind : `${kind} (${declared})`;
  const call = given === '' ? field.name : `${field.name}(${given})`;
  const full = `${type}.${field.name}`;
  return {
    kind,
    name: field.name,
    full,
    document: `${head} { ${call} ${selection(field.type, 4)} }`,
    variables: () => Object.fromEntries(field.args.map((arg) => [arg.name, valueFor(arg.type, arg.name)])),
    slots: field.args.flatMap((arg) => slotsOf(full, field.name, [arg.name], arg.type)),
    texts: field.args.flatMap((arg) => textsOf([arg.name], arg.type)),
  };
}

/** Texts that name something: of type ID, or called so. */
const NAMES_SOMETHING = /(^id$|Ids?$|^prefix$|[kK]ey$|[tT]enant$|^after$|^before$|[sS]ubject$|[pP]rofile$)/;

function slotsOf(full: string, field: string, path: readonly string[], type: GraphQLInputType): Slot[] {
  const named = getNamedType(type);
  if (isInputObjectType(named)) {
    return Object.values(named.getFields()).flatMap((input) =>
      slotsOf(full, field, [...path, input.name], input.type),
    );
  }
  const isName = named.name === 'ID' || (named.name === 'String' && NAMES_SOMETHING.test(path.at(-1) ?? ''));
  return isName ? [{ name: `${full}(${path.join('.')})`, field, path }] : [];
}

/** Texts that end in a column, a signal or a log; enums, numbers and dates have a form of their own. */
const TEXT_TYPES = new Set(['ID', 'String', 'SecretValue']);

function textsOf(path: readonly string[], type: GraphQLInputType): TextPlace[] {
  const named = getNamedType(type);
  if (isInputObjectType(named)) {
    return Object.values(named.getFields()).flatMap((input) => textsOf([...path, input.name], input.type));
  }
  if (!TEXT_TYPES.has(named.name)) return [];
  return [{ path, isId: named.name === 'ID', isList: isListType(getNullableType(type)) }];
}

/** Texts that must be of a certain form, or the attack ends at the check of the form. */
const WELL_FORMED: Readonly<Record<string, string>> = {
  role: 'viewer',
  permissions: 'run:read',
  email: 'someone@attacker.example',
  expiresAt: new Date(Date.now() + 86_400_000).toISOString(),
};

function valueFor(type: GraphQLInputType, name: string): unknown {
  if (isNonNullType(type)) return valueFor(type.ofType, name);
  if (isListType(type)) return [valueFor(type.ofType, name)];
  if (isEnumType(type)) return type.getValues()[0]?.name;
  if (isInputObjectType(type)) {
    return Object.fromEntries(
      Object.values(type.getFields()).map((input) => [input.name, valueFor(input.type, input.name)]),
    );
  }
  const values: Record<string, unknown> = { Int: 5, Float: 5, Boolean: false, JSON: { ticketId: 'T-1' } };
  if (Object.hasOwn(values, type.name)) return values[type.name];
  return Object.hasOwn(WELL_FORMED, name) ? WELL_FORMED[name] : 'text';
}

/** Every field down to `depth`, without those that need arguments. */
function selection(type: GraphQLOutputType, depth: number): string {
  const named = getNamedType(type);
  if (isLeafType(named) || !isObjectType(named)) return '';
  const parts = Object.values(named.getFields())
    .filter((field) => field.args.every((arg) => !isNonNullType(arg.type) || arg.defaultValue !== undefined))
    .map((field) => (isLeafType(getNamedType(field.type)) ? field.name : nested(field, depth)));
  return `{ ${['__typename', ...parts].filter((part) => part !== '').join(' ')} }`;
}

const nested = (field: GraphQLField<unknown, unknown>, depth: number): string =>
  depth > 1 ? `${field.name} ${selection(field.type, depth - 1)}` : '';

/** The variables with another value in one slot. */
export function withSlot(
  variables: Record<string, unknown>,
  path: readonly string[],
  value: unknown,
): Record<string, unknown> {
  const [first = '', ...rest] = path;
  const inner = Object(variables[first]) as Record<string, unknown>;
  return { ...variables, [first]: rest.length === 0 ? value : withSlot(inner, rest, value) };
}
