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
  {
    name: 'refusals-counted-among-many-at-once',
    at: { file: 'apps/api/src/graphql/http-door.ts' },
    find: '  refusals.expectLeft(credentials.authorization);\n',
    replace: '',
    spec: REFUSALS,
    test: 'has no more of its documents read when it sends many at once',
  },
  {
    name: 'refusals-of-every-websocket',
    at: { file: 'apps/api/src/graphql/socket-door.ts' },
    find: '        door.refusals.expectLeft(credentials.authorization);\n',
    replace: '',
    spec: REFUSALS,
    test: 'is not listened to over its other websockets either, whatever it asks there',
  },
  {
    name: 'refusals-of-a-key-however-written',
    at: { file: 'apps/api/src/graphql/refusal-limit.ts' },
    find: 'const proof = proofOf(authorization);',
    replace: 'const proof = proofOf(authorization) && authorization;',
    spec: REFUSALS,
    test: 'is the same key however its header is written',
  },
];
