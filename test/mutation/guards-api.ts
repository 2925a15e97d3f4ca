import type { Guard } from './guard.ts';

const REFUSALS = 'integration:test/integration/api-refusals.spec.ts';

/** What the API's doors are guarded by. */
export const API_GUARDS: readonly Guard[] = [
  {
    name: 'refusals-limited',
    at: { file: 'apps/api/src/graphql/http-door.ts' },
    find: 'refusals.expectLeft(headers.authorization)',
    replace: 'void headers',
    spec: REFUSALS,
    test: 'waits when they do not fit the schema',
  },
  {
    name: 'refusals-limited-over-websockets',
    at: { file: 'apps/api/src/graphql/socket-session.ts' },
    find: 'this.door.refusals.note(authorization, errors);',
    replace: 'void errors;',
    spec: REFUSALS,
    test: 'is no longer listened to over a websocket',
  },
  {
    name: 'no-websocket-while-refused',
    at: { file: 'apps/api/src/graphql/socket-session.ts' },
    find: '      this.door.refusals.expectLeft(credentials.authorization);\n',
    replace: '',
    spec: REFUSALS,
    test: 'is no longer listened to over a websocket',
  },
];
