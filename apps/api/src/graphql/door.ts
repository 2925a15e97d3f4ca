import type { GraphQLSchema } from 'graphql';
import type { AccessFeed } from '../auth/access-feed.js';
import type { Authenticate } from '../auth/authenticator.js';
import type { ApiDeps } from '../deps.js';
import type { RefusalLimit } from './refusal-limit.js';

/** What the two doors of /graphql need: http-door.ts and socket-door.ts. */
export interface GraphqlDoor extends Pick<ApiDeps, 'log' | 'settings'> {
  readonly authenticate: Authenticate;
  readonly refusals: RefusalLimit;
}

export interface SocketDoor extends GraphqlDoor {
  readonly schema: () => GraphQLSchema;
  readonly accessFeed: Pick<AccessFeed, 'watch'>;
}
