import { getNamedType, getNullableType, isListType, isObjectType, Kind, valueFromAST } from 'graphql';
import type {
  DocumentNode,
  FieldNode,
  FragmentDefinitionNode,
  GraphQLField,
  GraphQLObjectType,
  GraphQLSchema,
  OperationDefinitionNode,
  SelectionSetNode,
} from 'graphql';
import { within } from './limits.js';

/** A field that reads the database, once per object that has it. Others cost 1. */
export const READ = 25;
/** Objects in a list that does not say how many it gives. */
const LIST_OF_UNKNOWN_LENGTH = 20;
/** More than any list gives; keeps sums finite. */
const LENGTH_MAX = 10_000;

/**
 * Refuses an operation whose expected work is too much: each field counts once for each object that is expected to have
 * it, so a list multiplies what is asked of its objects. Runs for each request, because lengths stand in variables.
 * @throws BulkheadError QUERY_TOO_COMPLEX
 */
export function checkCost(
  schema: GraphQLSchema,
  document: DocumentNode,
  variables: Readonly<Record<string, unknown>>,
): void {
  for (const definition of document.definitions) {
    if (definition.kind !== Kind.OPERATION_DEFINITION) continue;
    const root = schema.getRootType(definition.operation);
    const cost = new Cost(document, { ...defaultsOf(definition), ...variables });
    if (root) within('cost', cost.of(definition.selectionSet, root, undefined, true));
  }
}

/** A length may also stand in the default of a variable. */
function defaultsOf(operation: OperationDefinitionNode): Record<string, unknown> {
  const defined = operation.variableDefinitions ?? [];
  return Object.fromEntries(
    defined.flatMap(({ variable, defaultValue }) =>
      defaultValue?.kind === Kind.INT ? [[variable.name.value, Number(defaultValue.value)]] : [],
    ),
  );
}

class Cost {
  private readonly fragments = new Map<string, FragmentDefinitionNode>();
  private readonly known = new Map<string, number>();

  constructor(
    document: DocumentNode,
    private readonly variables: Readonly<Record<string, unknown>>,
  ) {
    for (const definition of document.definitions)
      if (definition.kind === Kind.FRAGMENT_DEFINITION) this.fragments.set(definition.name.value, definition);
  }

  /** @param given length that a `first` outside has set for the next list inside. */
  of(set: SelectionSetNode, type: GraphQLObjectType, given: number | undefined, isRoot = false): number {
    let cost = 0;
    for (const selection of set.selections) {
      if (selection.kind === Kind.FIELD) cost += this.ofField(selection, type, given, isRoot);
      else if (selection.kind === Kind.INLINE_FRAGMENT)
        cost += this.of(selection.selectionSet, type, given, isRoot);
      else cost += this.ofFragment(selection.name.value, type, given, isRoot);
    }
    return cost;
  }

  private ofField(
    node: FieldNode,
    parent: GraphQLObjectType,
    given: number | undefined,
    isRoot: boolean,
  ): number {
    const field = parent.getFields()[node.name.value];
    if (!field) return 0; // __typename, __schema, __type
    const own = ownCost(field, isRoot);
    const type = getNamedType(field.type);
    if (!node.selectionSet || !isObjectType(type)) return own;
    const first = this.firstOf(node, field);
    const isList = isListType(getNullableType(field.type));
    const length = first ?? given ?? LIST_OF_UNKNOWN_LENGTH;
    return isList
      ? own + length * this.of(node.selectionSet, type, undefined)
      : own + this.of(node.selectionSet, type, first);
  }

  /** The same fragment costs the same wherever the same length is given: fragments in fragments are counted once. */
  private ofFragment(
    name: string,
    type: GraphQLObjectType,
    given: number | undefined,
    isRoot: boolean,
  ): number {
    const key = `${name} ${type.name} ${given}`;
    const known = this.known.get(key);
    if (known !== undefined) return known;
    const fragment = this.fragments.get(name);
    if (!fragment) return 0;
    const cost = this.of(fragment.selectionSet, type, given, isRoot);
    this.known.set(key, cost);
    return cost;
  }

  /** How many objects the caller asks for; undefined when the field has no such argument. */
  private firstOf(node: FieldNode, field: GraphQLField<unknown, unknown>): number | undefined {
    const argument = field.args.find(({ name }) => name === 'first');
    if (!argument) return undefined;
    const value = node.arguments?.find(({ name }) => name.value === 'first')?.value;
    const asked = value && valueFromAST(value, argument.type, this.variables);
    const length = Number(asked ?? argument.defaultValue ?? LIST_OF_UNKNOWN_LENGTH);
    return Number.isNaN(length) ? LENGTH_MAX : Math.min(Math.max(length, 1), LENGTH_MAX);
  }
}

function ownCost(field: GraphQLField<unknown, unknown>, isRoot: boolean): number {
  const { complexity } = field.extensions;
  if (typeof complexity === 'number') return complexity;
  return isRoot ? READ : 1;
}
