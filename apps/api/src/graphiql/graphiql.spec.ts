import { renderGraphiQL } from '@graphql-yoga/render-graphiql';
import { expect, it } from 'vitest';
import { withKeyForSockets } from './graphiql.controller.js';

it('the page gives its headers to websockets too, or a subscription in GraphiQL would be without a key', () => {
  const page = withKeyForSockets(renderGraphiQL());
  expect(page.match(/extensions:\{headers:(\w+)\?\.headers,connectionParams:\1\?\.headers\}/g)).toHaveLength(
    1,
  );
});

it('a page of another make is not served as if it did', () => {
  expect(() => withKeyForSockets(withKeyForSockets(renderGraphiQL()))).toThrow('GraphiQL has changed');
  expect(() => withKeyForSockets('')).toThrow('GraphiQL has changed');
});
