import type { Guard } from './guard.ts';

const SPEC = 'unit:temporal/contract/src/json-schema.spec.ts';
const PATTERNS = { file: 'temporal/contract/src/json-pattern.ts' };
const SCHEMAS = { file: 'temporal/contract/src/json-schema.ts' };

/** What keeps a schema of one tenant from holding up the process that serves all of them. */
export const SCHEMA_GUARDS: readonly Guard[] = [
  {
    name: 'pattern-tried-everywhere',
    at: PATTERNS,
    find: 'repeats + (isAnchored ? 0 : 1)',
    replace: 'repeats',
    spec: SPEC,
    test: 'one repeat that may begin anywhere',
  },
  {
    name: 'pattern-ways-through',
    at: PATTERNS,
    find: 'ways *= alternatives(inner[0]);',
    replace: '',
    spec: SPEC,
    test: '2^30 ways through groups',
  },
  {
    name: 'pattern-hides-in-no-class',
    at: PATTERNS,
    find: String.raw`/\[[^\]]*\]/g`,
    replace: String.raw`/\[\^?\]?[^\]]*\]/g`,
    spec: SPEC,
    test: 'an empty class that hides what follows',
  },
  {
    name: 'pattern-names-are-one-character',
    at: PATTERNS,
    find: String.raw`/\\(?:[pPu]\{[^}]*\}|.)/gs`,
    replace: String.raw`/\\./gs`,
    spec: SPEC,
    test: 'the same with a class by name',
  },
  {
    name: 'patterns-of-one-text',
    at: SCHEMAS,
    find: 'if (steps > STEPS_MAX)',
    replace: 'if (steps === Infinity)',
    spec: SPEC,
    test: 'two repeats, more texts of it',
  },
  {
    name: 'checks-of-each-element',
    at: SCHEMAS,
    find: 'if (each > CHECKS_EACH_MAX)',
    replace: 'if (each > CHECKS_MAX)',
    spec: SPEC,
    test: 'alternatives for each further property',
  },
  {
    name: 'schemas-are-not-logged',
    at: { file: 'activities/tool-gateway/src/spec-check.ts' },
    find: ', logger: false',
    replace: '',
    spec: 'unit:activities/tool-gateway/src/spec-check.spec.ts',
    test: 'is told to whoever declares it, and to no log',
  },
];
