import { Kind } from 'graphql';
import type { DocumentNode, FragmentDefinitionNode, SelectionSetNode } from 'graphql';
import { BulkheadError } from '@bulkhead/contract';
import { within } from './limits.js';

/** Names that tell the schema; `__typename` tells only what the caller has selected. */
const INTROSPECTION = new Set(['__schema', '__type']);

/**
 * The limits of a parsed document, before it is validated: some of GraphQL's own rules take quadratic time.
 * @throws BulkheadError QUERY_TOO_COMPLEX, INTROSPECTION_DISABLED, BAD_INPUT for a fragment that contains itself.
 */
export function checkDocument(document: DocumentNode, introspection: boolean): void {
  const fragments = fragmentsOf(document);
  within('fragments', fragments.size);
  const operations = document.definitions.filter(({ kind }) => kind === Kind.OPERATION_DEFINITION);
  within('operations', operations.length);
  const shapes = new Shapes(fragments, introspection);
  // fragments that nothing uses are validated like all others
  for (const name of fragments.keys()) shapes.ofFragment(name);
  for (const definition of document.definitions) {
    if (definition.kind === Kind.OPERATION_DEFINITION) checkShape(shapes.of(definition.selectionSet));
  }
}

function checkShape(shape: Shape): void {
  within('rootFields', shape.root);
  within('fields', shape.fields);
  within('aliases', shape.aliases);
  within('depth', shape.depth);
}

function fragmentsOf(document: DocumentNode): Map<string, FragmentDefinitionNode> {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions) {
    // of two with one name the first: that there are two is said by validation
    if (definition.kind === Kind.FRAGMENT_DEFINITION && !fragments.has(definition.name.value))
      fragments.set(definition.name.value, definition);
  }
  return fragments;
}

/** What a selection comes to after its fragments are expanded. */
interface Shape {
  /** Fields at its top. */
  readonly root: number;
  readonly fields: number;
  readonly aliases: number;
  readonly depth: number;
}

const EMPTY: Shape = { root: 0, fields: 0, aliases: 0, depth: 0 };

/** Counts each fragment once and reuses the sum, so that fragments within fragments cannot make the count itself slow. */
class Shapes {
  private readonly known = new Map<string, Shape | 'counting'>();

  constructor(
    private readonly fragments: ReadonlyMap<string, FragmentDefinitionNode>,
    private readonly introspection: boolean,
  ) {}

  of(set: SelectionSetNode): Shape {
    const shape = { root: 0, fields: 0, aliases: 0, depth: 0 };
    for (const selection of set.selections) {
      if (selection.kind === Kind.FIELD) {
        if (INTROSPECTION.has(selection.name.value) && !this.introspection)
          throw new BulkheadError('INTROSPECTION_DISABLED');
        const inner = selection.selectionSet ? this.of(selection.selectionSet) : EMPTY;
        // GraphQL bounds how introspection nests; its usual query is deeper than any other
        const depth = INTROSPECTION.has(selection.name.value) ? 1 : 1 + inner.depth;
        const aliases = inner.aliases + (selection.alias ? 1 : 0);
        add(shape, { root: 1, fields: 1 + inner.fields, aliases, depth });
      } else {
        add(
          shape,
          selection.kind === Kind.FRAGMENT_SPREAD
            ? this.ofFragment(selection.name.value)
            : this.of(selection.selectionSet),
        );
      }
    }
    return shape;
  }

  ofFragment(name: string): Shape {
    const known = this.known.get(name);
    if (known === 'counting') {
      throw new BulkheadError('BAD_INPUT', {
        field: 'query',
        publicMessage: `The fragment "${name.slice(0, 60)}" contains itself.`,
      });
    }
    if (known) return known;
    const fragment = this.fragments.get(name);
    if (!fragment) return EMPTY; // validation says that there is none
    this.known.set(name, 'counting');
    const shape = this.of(fragment.selectionSet);
    this.known.set(name, shape);
    return shape;
  }
}

function add(to: { -readonly [K in keyof Shape]: Shape[K] }, part: Shape): void {
  to.root += part.root;
  to.fields += part.fields;
  to.aliases += part.aliases;
  to.depth = Math.max(to.depth, part.depth);
}
