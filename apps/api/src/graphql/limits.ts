import { GraphQLError, Kind } from 'graphql';
import type { DocumentNode, SelectionSetNode, ValidationRule } from 'graphql';
import { BulkheadError } from '@bulkhead/contract';

/** Characters of a document at most; Mercurius keeps 1,024 documents in memory. */
const DOCUMENT_MAX = 16_384;
/** Brackets open at once at most: parsing recurses, so a deep document would overflow the stack. */
const NESTING_MAX = 60;
/** Fields after fragments are expanded, and fields at the top, each of which costs a database transaction. */
const FIELDS_MAX = 400;
const ROOT_FIELDS_MAX = 20;

/** @throws BulkheadError when a document is too large or too deep to be parsed safely. */
export function checkSource(source: string): void {
  if (source.length > DOCUMENT_MAX) {
    throw new BulkheadError('PAYLOAD_TOO_LARGE', {
      field: 'query',
      publicMessage: `The document is longer than ${DOCUMENT_MAX} characters. Send data as variables.`,
    });
  }
  // Mercurius would take a JSON syntax tree for a document and skip the parser
  if (/^\s*[{[]\s*"/.test(source)) throw tooMuch('The document is not GraphQL.');
  let open = 0;
  for (const character of source) {
    if ('{[('.includes(character)) open += 1;
    else if ('}])'.includes(character)) open -= 1;
    if (open > NESTING_MAX) throw tooMuch(`The document is nested deeper than ${NESTING_MAX} levels.`);
  }
}

const tooMuch = (publicMessage: string): BulkheadError =>
  new BulkheadError('BAD_INPUT', { field: 'query', publicMessage });

/** Refuses documents that ask for too much at once, e.g. one query under a thousand aliases. */
export const costRule: ValidationRule = (context) => ({
  Document(document) {
    for (const definition of document.definitions) {
      if (definition.kind !== Kind.OPERATION_DEFINITION) continue;
      const cost = countFields(document, definition.selectionSet);
      if (cost.root > ROOT_FIELDS_MAX) {
        context.reportError(
          new GraphQLError(`More than ${ROOT_FIELDS_MAX} fields at the top of an operation.`),
        );
      }
      if (cost.all > FIELDS_MAX) {
        context.reportError(new GraphQLError(`More than ${FIELDS_MAX} fields in an operation.`));
      }
    }
  },
});

interface Cost {
  readonly root: number;
  readonly all: number;
}

/** Counts each fragment once and reuses the sum, so that fragments within fragments cannot make the count itself slow. */
function countFields(document: DocumentNode, operation: SelectionSetNode): Cost {
  const known = new Map<string, Cost>();
  const ofFragment = (name: string): Cost => {
    const counted = known.get(name);
    if (counted) return counted;
    known.set(name, { root: 0, all: 0 }); // a cycle is an error of its own and ends here
    const fragment = document.definitions.find(
      (definition) => definition.kind === Kind.FRAGMENT_DEFINITION && definition.name.value === name,
    );
    const cost =
      fragment?.kind === Kind.FRAGMENT_DEFINITION ? ofSelection(fragment.selectionSet) : { root: 0, all: 0 };
    known.set(name, cost);
    return cost;
  };
  const ofSelection = (set: SelectionSetNode): Cost => {
    let root = 0;
    let all = 0;
    for (const selection of set.selections) {
      if (selection.kind === Kind.FIELD) {
        root += 1;
        all += 1 + (selection.selectionSet ? ofSelection(selection.selectionSet).all : 0);
      } else {
        const cost =
          selection.kind === Kind.FRAGMENT_SPREAD
            ? ofFragment(selection.name.value)
            : ofSelection(selection.selectionSet);
        root += cost.root;
        all += cost.all;
      }
    }
    return { root, all };
  };
  return ofSelection(operation);
}
