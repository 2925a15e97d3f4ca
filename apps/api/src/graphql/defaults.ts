import { getOperationAST, valueFromASTUntyped } from 'graphql';
import type { DocumentNode } from 'graphql';

/**
 * The variables with the defaults of those that were not given. The compiled form of a document demands each variable of a
 * required type, also one that has a default.
 */
export function withDefaults(
  document: DocumentNode,
  operationName: string | undefined,
  variables: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const defined = getOperationAST(document, operationName)?.variableDefinitions ?? [];
  const defaults = defined.flatMap(({ variable, defaultValue }) =>
    defaultValue === undefined ? [] : [[variable.name.value, valueFromASTUntyped(defaultValue)] as const],
  );
  return { ...Object.fromEntries(defaults), ...variables };
}
