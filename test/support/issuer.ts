import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { OAuth2Issuer, OAuth2Service } from 'oauth2-mock-server';
import type { IssuerConfig } from '@bulkhead/runtime/config';

/** A real OIDC issuer that is not ours (npm oauth2-mock-server), listening on loopback. */
export interface TestIssuer {
  readonly config: IssuerConfig;
  readonly issuer: OAuth2Issuer;
  /** How often its keys were fetched. */
  readonly keyFetches: () => number;
  /** A token of this person; `claims` are put over what the issuer would say. Signed by `kid`, or any of its keys. */
  token(subject: string, claims?: Record<string, unknown>, kid?: string): Promise<string>;
  /** false: it answers nothing any more. */
  answer(answers: boolean): void;
  close(): Promise<void>;
}

const AUDIENCE = 'https://bulkhead.test';

export async function startIssuer(algorithm: 'RS256' | 'ES256' | 'EdDSA' = 'RS256'): Promise<TestIssuer> {
  const issuer = new OAuth2Issuer();
  await issuer.keys.generate(algorithm, { kid: `first-${algorithm}` });
  const { requestHandler } = new OAuth2Service(issuer);
  let fetches = 0;
  let answers = true;
  const server = createServer((request, response) => {
    if (request.url === '/jwks') fetches += 1;
    if (answers) requestHandler(request, response);
    else request.socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  issuer.url = url;
  return {
    config: { issuer: url, audience: AUDIENCE, algorithms: ['RS256', 'ES256', 'EdDSA'] },
    issuer,
    keyFetches: () => fetches,
    token: (subject, claims = {}, kid = undefined) =>
      issuer.buildToken({
        kid,
        scopesOrTransform: (_header, payload) => {
          Object.assign(payload, { sub: subject, aud: AUDIENCE }, claims);
        },
      }),
    answer: (whether) => (answers = whether),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
