import { GraphQLError, GraphQLScalarType } from 'graphql';

/**
 * A secret on its way in. Documents are cached, listed and logged, so a value that stands in one is refused; and the
 * error for a variable that does not fit quotes it, so each variable fits here and is judged where nothing is quoted.
 */
export const SecretValueScalar = new GraphQLScalarType<unknown, never>({
  name: 'SecretValue',
  description:
    'A secret, as a variable: one that stands in the document is refused. It can be written and never read.',
  serialize: () => {
    throw new GraphQLError('A secret is never read.');
  },
  parseValue: (value) => value,
  parseLiteral: () => {
    throw new GraphQLError('Give a secret as a variable; one that stands in the document is not taken.');
  },
});
