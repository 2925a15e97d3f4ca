import { GraphQLScalarType, valueFromASTUntyped } from 'graphql';

/** Any JSON value. Depth and size are checked where it is used, against a schema of its own. */
export const JsonScalar = new GraphQLScalarType({
  name: 'JSON',
  description: 'Any JSON value.',
  serialize: (value) => value,
  parseValue: (value) => value,
  parseLiteral: (node, variables) => valueFromASTUntyped(node, variables),
});
