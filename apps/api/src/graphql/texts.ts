import {
  getNullableType,
  isInputObjectType,
  isInputType,
  isListType,
  Kind,
  typeFromAST,
  TypeInfo,
  visit,
  visitWithTypeInfo,
} from 'graphql';
import type { ASTNode, ASTVisitor, DocumentNode, GraphQLInputType, GraphQLSchema } from 'graphql';
import { BulkheadError, isStorableText } from '@bulkhead/contract';

/** Characters of an id at most; ours have 70, and the longest name that a caller may choose 200. */
export const ID_CHARACTERS_MAX = 256;

/**
 * Refuses texts that no column can hold (U+0000, half a character) and ids that are too long to be one, wherever they
 * stand in the variables. One place for all arguments, so that a new one cannot forget it.
 * @throws BulkheadError BAD_INPUT that names the place as a dotted path, never the value
 */
export function checkVariables(
  schema: GraphQLSchema,
  document: DocumentNode,
  variables: Readonly<Record<string, unknown>>,
): void {
  for (const [name, value] of Object.entries(variables))
    checkValue(value, typeOf(schema, document, name), name);
}

/** The same for what is written into the document itself. */
export function checkLiterals(schema: GraphQLSchema, document: DocumentNode): void {
  const types = new TypeInfo(schema);
  const visitor: ASTVisitor = {
    StringValue: ({ value }, _key, parent, _path, ancestors) =>
      checkValue(
        value,
        types.getInputType() ?? undefined,
        placeOf([...ancestors, ...(parent ? [parent] : [])]),
      ),
  };
  visit(document, visitWithTypeInfo(types, visitor));
}

/** The type of a variable. Of several operations that declare it the first; validation says whether it is known. */
function typeOf(schema: GraphQLSchema, document: DocumentNode, name: string): GraphQLInputType | undefined {
  for (const definition of document.definitions) {
    if (definition.kind !== Kind.OPERATION_DEFINITION) continue;
    const declared = definition.variableDefinitions?.find(({ variable }) => variable.name.value === name);
    const type = declared && typeFromAST(schema, declared.type);
    if (isInputType(type)) return type;
  }
  return undefined;
}

/** @param type undefined inside of JSON, which has no types */
function checkValue(value: unknown, type: GraphQLInputType | undefined, place: string): void {
  const inner = type && getNullableType(type);
  if (typeof value === 'string') return checkText(value, String(inner) === 'ID', place);
  if (typeof value !== 'object' || value === null) return;
  if (Array.isArray(value)) {
    const item = isListType(inner) ? inner.ofType : undefined;
    for (const [index, part] of value.entries()) checkValue(part, item, `${place}.${index}`);
    return;
  }
  const fields = isInputObjectType(inner) ? inner.getFields() : {};
  for (const [name, part] of Object.entries(value)) {
    checkText(name, false, place);
    checkValue(part, Object.hasOwn(fields, name) ? fields[name]?.type : undefined, `${place}.${name}`);
  }
}

function checkText(text: string, isId: boolean, place: string): void {
  if (!isStorableText(text)) throw bad(place, 'must be text without U+0000 and without half characters');
  if (isId && text.length > ID_CHARACTERS_MAX)
    throw bad(place, `an id has at most ${ID_CHARACTERS_MAX} characters`);
}

/** `input.note` for a text in an argument's object; the variable's name for one in a default. */
const placeOf = (ancestors: readonly (ASTNode | readonly ASTNode[])[]): string =>
  ancestors
    .flatMap((node) => {
      if (!('kind' in node)) return [];
      if (node.kind === Kind.VARIABLE_DEFINITION) return [node.variable.name.value];
      return node.kind === Kind.ARGUMENT || node.kind === Kind.OBJECT_FIELD ? [node.name.value] : [];
    })
    .join('.');

const bad = (field: string, what: string): BulkheadError =>
  new BulkheadError('BAD_INPUT', { field, publicMessage: `${field}: ${what}` });
