import type { Guard } from './guard.ts';

const SPEC = 'integration:test/integration/repeats.spec.ts';

/** What holds when a call that may have been sent is asked for again. */
export const REPEAT_GUARDS: readonly Guard[] = [
  {
    name: 'not-sent-is-said-of-the-call',
    at: { sql: 'settle' },
    find: "IF ending = 'not_sent' AND e.maybe_sent THEN ending := 'unknown'; END IF;",
    replace: '',
    spec: SPEC,
    test: 'because the answer of admit was lost, gives nothing back',
  },
  {
    name: 'unanswered-may-be-sent',
    at: { sql: 'settle' },
    find: 'UPDATE effects SET holder_ended = true, maybe_sent = true WHERE',
    replace: 'UPDATE effects SET holder_ended = true WHERE',
    spec: SPEC,
    test: 'stopped after its first byte',
  },
  {
    name: 'what-an-heir-takes-over-may-be-sent',
    at: { sql: 'admit' },
    find: 'maybe_sent = e.maybe_sent OR holder_gone IS TRUE',
    replace: 'maybe_sent = e.maybe_sent',
    spec: SPEC,
    test: 'gives nothing back of a host that died',
  },
  {
    name: 'author-hears-what-nobody-knows',
    at: { file: 'activities/tool-gateway/src/settle.ts' },
    find: "repeat && ending.kind === 'not_sent'",
    replace: 'false',
    spec: SPEC,
    test: 'is given up in the end as what it is',
  },
  {
    name: 'repeat-goes-to-the-same-place',
    at: { sql: 'admit' },
    find: " OR e.target IS DISTINCT FROM p->>'target'",
    replace: '',
    spec: SPEC,
    test: 'the tool points elsewhere by now',
  },
  {
    name: 'repeat-needs-its-approval',
    at: { sql: 'admit' },
    find: "IF p->'approval' IS NOT NULL AND jsonb_typeof(p->'approval') = 'object' THEN",
    replace: "IF e.key IS NULL AND p->'approval' IS NOT NULL AND jsonb_typeof(p->'approval') = 'object' THEN",
    spec: SPEC,
    test: 'is asked before the repeat as well',
  },
  {
    name: 'key-ids-have-a-form',
    at: { file: 'temporal/runtime/src/codec.ts' },
    find: "if (!KEY_ID.test(keyId)) throw refused(tenantId, 'names a key that is none');",
    replace: '',
    spec: 'unit:temporal/runtime/src/codec.spec.ts',
    test: 'is refused before the database is asked',
  },
  {
    name: 'a-message-has-its-own-method',
    at: { file: 'activities/tool-gateway/src/adapters/mcp.ts' },
    find: "method === 'notifications/cancelled'",
    replace: 'body.includes(\'"method":"notifications/cancelled"\')',
    spec: 'unit:activities/tool-gateway/src/adapters/mcp-http.spec.ts',
    test: 'look like a message of the protocol',
  },
];
