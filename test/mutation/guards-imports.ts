import type { Guard } from './guard.ts';

const SPEC = 'integration:test/integration/mcp-import-credentials.spec.ts';

/** What stands between a server that wants to know who asks and the tenant's credentials. */
export const IMPORT_GUARDS: readonly Guard[] = [
  {
    name: 'import-credential-to-its-host',
    at: { file: 'activities/tool-gateway/src/adapters/mcp-list.ts' },
    find: "if (refused) throw new CredentialRefused('message' in refused ? refused.message : refused.kind);",
    replace: 'void refused;',
    spec: SPEC,
    test: 'attack: it is bound elsewhere',
  },
  {
    name: 'import-without-an-echo',
    at: { file: 'activities/tool-gateway/src/adapters/mcp-list.ts' },
    find: 'return shown ? withoutEcho(shown.lease, listed) : listed;',
    replace: 'return listed;',
    spec: SPEC,
    test: 'attack: a server that redirects',
  },
  {
    name: 'import-lease-under-way-only',
    at: { sql: 'lease_for_import' },
    find: "AND x.id = p->>'id' AND x.state = 'taken' FOR UPDATE",
    replace: "AND x.id = p->>'id' FOR UPDATE",
    spec: SPEC,
    test: 'an order that is not under way',
  },
  {
    name: 'import-lease-for-a-live-host',
    at: { sql: 'lease_for_import' },
    find: "IF NOT EXISTS (SELECT FROM hosts h WHERE h.id = p->>'host' AND NOT h.fenced)",
    replace: 'IF false',
    spec: SPEC,
    test: 'a host that is fenced',
  },
  {
    name: 'import-lease-not-while-stopped',
    at: { sql: 'lease_for_import' },
    find: "WHEN stop.answer->>'kind' = 'parked' THEN format('The tenant is %s.', stop.answer->>'state')",
    replace: '',
    spec: SPEC,
    test: 'a stop of the tenant',
  },
  {
    name: 'import-lease-not-for-agents-secrets',
    at: { sql: 'lease_for_import' },
    find: "WHEN s.agents IS NOT NULL THEN format('Secret %s may only be used by the agents that it names.', wanted)",
    replace: '',
    spec: SPEC,
    test: 'attack: a secret that names agents',
  },
  {
    name: 'import-lease-not-for-other-tools',
    at: { sql: 'lease_for_import' },
    find: "starts_with(t, i.system || '.')",
    replace: 'true',
    spec: SPEC,
    test: 'attack: a secret that names tools of another system',
  },
  {
    name: 'import-lease-not-of-a-revoked-version',
    at: { sql: 'lease_for_import' },
    find: "WHEN s.state IS DISTINCT FROM 'active' THEN format('Secret %s is revoked.', wanted)",
    replace: '',
    spec: SPEC,
    test: 'a revocation is not in force',
  },
  {
    name: 'revocation-waits-for-an-import',
    at: { sql: 'revocations_not_in_force' },
    find: "WHERE i.tenant_id = app_tenant() AND (v.state <> 'active'",
    replace: "WHERE false AND (v.state <> 'active'",
    spec: SPEC,
    test: 'a revocation is not in force',
  },
];
