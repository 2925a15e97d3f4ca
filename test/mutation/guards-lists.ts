import type { Guard } from './guard.ts';

const SPEC = 'integration:test/integration/tool-list.spec.ts';

/** What a run is told of its tools. */
export const LIST_GUARDS: readonly Guard[] = [
  {
    name: 'no-list-for-a-parked-run',
    at: { sql: 'run_tools' },
    find: "IF s.answer->>'kind' = 'parked' THEN RETURN s.answer; END IF;",
    replace: '',
    spec: SPEC,
    test: 'a stop of the whole tenant',
  },
  {
    name: 'no-stopped-tool-in-a-list',
    at: { sql: 'run_tools' },
    find: 'FROM control_stops c WHERE c.tenant_id = app_tenant() AND c.resumed_at IS NULL',
    replace: 'FROM control_stops c WHERE false',
    spec: SPEC,
    test: 'a tool that is stopped is not in it',
  },
  {
    name: 'no-list-for-an-ended-run',
    at: { sql: 'run_tools' },
    find: 'IF NOT FOUND THEN RETURN \'{"kind":"run_ended"}\'; END IF;',
    replace: '',
    spec: SPEC,
    test: 'attack: an ended run',
  },
  {
    name: 'a-list-is-narrowed-by-policy',
    at: { file: 'activities/tool-gateway/src/tool-list.ts' },
    find: "if (allowed === 'never') return undefined;",
    replace: '',
    spec: SPEC,
    test: 'is narrowed by the policy',
  },
  {
    name: 'a-list-reads-the-policy-anew',
    at: { file: 'activities/policy/src/line.ts' },
    find: 'await headOf(tenantId, profile, true)) ?? {}',
    replace: 'await headOf(tenantId, profile, false)) ?? {}',
    spec: SPEC,
    test: 'shows what was published a moment ago',
  },
  {
    name: 'a-list-of-this-run-and-question',
    at: { file: 'workflows/src/kit/answers.ts' },
    find: "of['runId'] === runId && ",
    replace: '',
    spec: 'unit:workflows/src/kit/answers.spec.ts',
    test: "another run's is none",
  },
  {
    name: 'a-list-is-bounded',
    at: { file: 'activities/tool-gateway/src/tool-list.ts' },
    find: 'if (this.tools.length >= TOOLS_MAX || this.bytes + bytes > LIST_BYTES_MAX) return false;',
    replace: '',
    spec: SPEC,
    test: 'a list is at most',
  },
  {
    name: 'no-hidden-text-in-a-list',
    at: { file: 'activities/tool-gateway/src/tool-list.ts' },
    find: "text.replaceAll(/[\\p{Cc}\\p{Cf}\\p{Co}\\p{DI}]/gu, ' ')",
    replace: 'text',
    spec: SPEC,
    test: 'texts in a description that no person sees',
  },
];
