import type { Guard } from './guard.ts';

const SPEC = 'integration:test/integration/policy-settings.spec.ts';

/** What a policy says about keeping is what is kept. */
export const KEEPING_GUARDS: readonly Guard[] = [
  {
    name: 'arguments-as-policy-says',
    at: { sql: 'write_intent' },
    find: "keep boolean := p->>'keepArguments' IS DISTINCT FROM 'false';",
    replace: 'keep boolean := true;',
    spec: SPEC,
    test: 'holds from the next admit on',
  },
  {
    name: 'undo-is-made-of-arguments',
    at: { file: 'activities/tool-gateway/src/settle.ts' },
    find: 'keepsArguments && spec.compensation && ',
    replace: 'spec.compensation && ',
    spec: SPEC,
    test: 'keeps no call that would undo this one either',
  },
];
