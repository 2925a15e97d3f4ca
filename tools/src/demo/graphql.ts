/** The demo speaks to the API as any client would: HTTP, an API key, GraphQL. */
export interface GraphqlClient {
  /** @throws GraphqlFailure with the codes and messages of the answer's errors. */
  request<T>(query: string, variables?: Record<string, unknown>): Promise<T>;
}

export class GraphqlFailure extends Error {
  override readonly name = 'GraphqlFailure';
  constructor(
    readonly errors: readonly { message: string; extensions?: { code?: string; field?: string } }[],
  ) {
    super(errors.map((error) => `${error.extensions?.code ?? 'ERROR'}: ${error.message}`).join('; '));
  }
}

export function graphqlClient(url: string, apiKey: string): GraphqlClient {
  return {
    async request<T>(query: string, variables: Record<string, unknown> = {}): Promise<T> {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${apiKey}` },
        body: JSON.stringify({ query, variables }),
        signal: AbortSignal.timeout(15_000),
      });
      const body = (await response.json()) as { data?: T; errors?: GraphqlFailure['errors'] };
      if (body.errors && body.errors.length > 0) throw new GraphqlFailure(body.errors);
      if (!body.data)
        throw new GraphqlFailure([{ message: `no data in an answer of status ${response.status}` }]);
      return body.data;
    },
  };
}
