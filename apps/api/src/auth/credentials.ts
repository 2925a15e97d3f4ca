import type { IncomingHttpHeaders } from 'node:http';
import type { Credentials } from './principal.js';

/** What the headers of a request say about who sends it. A header that was sent twice says nothing. */
export const credentialsOf = (headers: IncomingHttpHeaders): Credentials => ({
  authorization: headers.authorization,
  tenant: one(headers['x-bulkhead-tenant']),
});

/** The same from the parameters of a websocket connection, because browsers cannot set its headers. */
export const credentialsOfConnection = (parameters: Readonly<Record<string, unknown>> = {}): Credentials => ({
  authorization: one(parameters['authorization'] ?? parameters['Authorization']),
  tenant: one(parameters['x-bulkhead-tenant']),
});

const BEARER = /^bearer +(\S+)$/i;

/** The key or token alone, however the header around it is written; undefined when there is none. */
export const proofOf = (authorization: string | undefined): string | undefined =>
  BEARER.exec(authorization ?? '')?.[1];

const one = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
