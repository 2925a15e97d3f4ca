import type { Guard } from './guard.ts';

const SPEC_CHECK = { file: 'activities/tool-gateway/src/spec-check.ts' };
const COMPENSATION = { file: 'activities/tool-gateway/src/compensation.ts' };
const IMPORT = { file: 'activities/tool-gateway/src/import.ts' };
const TENANT_KEYS = { file: 'activities/tenancy/src/tenant-keys.ts' };
const COSTS = 'integration:test/integration/costs.spec.ts';
const IMPORTS = 'integration:test/integration/mcp-imports.spec.ts';
const OPERATORS = 'integration:test/integration/identity-operator-command.spec.ts';

/** What people set and see: rules of secrets, costs, imports, keys, operators, approvals. */
export const RULE_GUARDS: readonly Guard[] = [
  {
    name: 'rotation-undoes-no-change',
    at: { file: 'activities/secret-broker/src/admin.ts' },
    find: `  await db.run((tx) => storedRules(tx, tenantId, change.name));
  const { name, value, access, boundHosts, purpose, agents, tools } = checked(Rotation, change);
  // under the lock: what another admin has taken away meanwhile must not come back
  const rulesOf = async (tx: TenantClient): Promise<StoredRules> => {
    const stored = await storedRules(tx, tenantId, name);`,
    replace: `  const stored = await db.run((tx) => storedRules(tx, tenantId, change.name));
  const { name, value, access, boundHosts, purpose, agents, tools } = checked(Rotation, change);
  const rulesOf = async (): Promise<StoredRules> => {`,
    spec: 'integration:test/integration/secret-rules.spec.ts',
    test: 'that change while a new value is being sealed',
  },
  {
    name: 'credential-in-no-header-of-the-request',
    at: { file: 'temporal/contract/src/schemas.ts' },
    find: '!OWN_HEADERS.has(name)',
    replace: "name !== 'cookies'",
    spec: 'unit:activities/tool-gateway/src/spec-check.spec.ts',
    test: 'is expect, which decides when',
  },
  {
    name: 'cost-is-reserved-to-be-reported',
    at: SPEC_CHECK,
    find: 'if (costReportedAt !== undefined && costMicros === 0)',
    replace: 'if (costReportedAt !== undefined && costMicros < 0)',
    spec: COSTS,
    test: 'a tool that only reports what it costs is not declared',
  },
  {
    name: 'reported-cost-is-no-gift',
    at: COMPENSATION,
    find: ' && value >= 0 && value <= COST_MAX',
    replace: ' && value <= COST_MAX',
    spec: COSTS,
    test: 'an answer that reports -5',
  },
  {
    name: 'undo-is-no-larger-than-an-answer',
    at: COMPENSATION,
    find: '    if (bytes > KEPT_BYTES_MAX) return undefined;\n',
    replace: '',
    spec: COSTS,
    test: 'that would be larger than an answer may be',
  },
  {
    name: 'undo-by-a-tool-that-is-there',
    at: { file: 'activities/tool-gateway/src/registry.ts' },
    find: 'if (!found || undo === toolId) throw',
    replace: 'if (!found) return;\n    if (undo === toolId) throw',
    spec: COSTS,
    test: 'names no tool',
  },
  {
    name: 'imported-tools-are-pinned',
    at: IMPORT,
    find: '      pin,\n      description: description || name,',
    replace: '      description: description || name,',
    spec: IMPORTS,
    test: 'makes tools that are off',
  },
  {
    name: 'imported-tools-are-irreversible',
    at: IMPORT,
    find: "effect: 'irreversible',",
    replace: "effect: 'read',",
    spec: IMPORTS,
    test: 'makes tools that are off',
  },
  {
    name: 'import-switches-off-what-changed',
    at: IMPORT,
    find: '      enabled: false,\n      disabledReason: reason,',
    replace: '      disabledReason: reason,',
    spec: IMPORTS,
    test: 'a server that changes its description',
  },
  {
    name: 'import-takes-no-other-tools-place',
    at: IMPORT,
    find: 'return name === undefined || spec.tool === name ? spec : undefined;',
    replace: 'return spec;',
    spec: IMPORTS,
    test: 'a name that is listed twice',
  },
  {
    name: 'import-leaves-other-adapters-alone',
    at: IMPORT,
    find: "if (spec.adapter !== 'mcp' || canonicalJson(spec.server) !== canonicalJson(server)) return undefined;",
    replace:
      "if (spec.adapter !== 'mcp') return { ...spec, adapter: 'mcp', server, tool: name ?? '', pin: undefined };",
    spec: IMPORTS,
    test: 'a name that is listed twice',
  },
  {
    name: 'strongest-stop-is-shown',
    at: { sql: 'shown_control_state' },
    find: "ARRAY['killed', 'paused', 'read_only', 'frozen']",
    replace: "ARRAY['frozen', 'read_only', 'paused', 'killed']",
    spec: 'integration:test/integration/api-watch.spec.ts',
    test: 'the state of a tenant is its strongest stop',
  },
  {
    name: 'stop-of-an-agent-is-not-the-tenants',
    at: { sql: 'shown_control_state' },
    find: "s.scope = 'tenant' AND ",
    replace: '',
    spec: 'integration:test/integration/api-watch.spec.ts',
    test: 'the state of a tenant is its strongest stop',
  },
  {
    name: 'kill-ends-newer-runs',
    at: { sql: 'stop_calls' },
    find: "IF (p->>'end')::boolean THEN",
    replace: "IF (p->>'end')::boolean AND NOT s.ends THEN",
    spec: 'integration:test/integration/stops.spec.ts',
    test: 'a kill that ends runs, ordered again',
  },
  {
    name: 'one-active-key',
    at: TENANT_KEYS,
    find: "    await tx.tenantKey.updateMany({ where: { keyId: active.keyId }, data: { state: 'retired' } });\n",
    replace: '',
    spec: 'integration:test/integration/tenant-keys.spec.ts',
    test: 'leaves one active key, however many rotate at once',
  },
  {
    name: 'key-rotation-is-journalled',
    at: TENANT_KEYS,
    find: "    await tx.journalRecord.create({ data: { tenantId, kind: 'control', body } });\n    return { keyId, retired",
    replace: '    return { keyId, retired',
    spec: 'integration:test/integration/api-tenancy.spec.ts',
    test: 'has a key that an admin rotates',
  },
  {
    name: 'key-rotation-is-for-admins',
    at: { file: 'apps/api/src/tenant-keys/tenant-key.resolver.ts' },
    find: "@Permission('tenant-key:rotate')",
    replace: "@Permission('tenant-key:read')",
    spec: 'integration:test/integration/identity-matrix.spec.ts',
    test: 'each role at each handler',
  },
  {
    name: 'operators-are-journalled',
    at: { file: 'prisma/migrations/20261124161200_platform_journal/migration.sql' },
    find: 'AFTER INSERT OR UPDATE OF revoked_at ON platform_operators',
    replace: 'AFTER UPDATE OF revoked_at ON platform_operators',
    spec: OPERATORS,
    test: 'journals who was made and ended',
  },
  {
    name: 'platform-journal-is-chained',
    at: { sql: 'platform_record_hash' },
    find: "sha256(p_prev || convert_to(p_seq || ' ' ||",
    replace: "sha256(convert_to(p_seq || ' ' ||",
    spec: OPERATORS,
    test: 'journals who was made and ended',
  },
  {
    name: 'platform-journal-hashes-what-it-says',
    at: { sql: 'platform_record_hash' },
    find: " || ' ' || p_body::text, 'UTF8')",
    replace: ", 'UTF8')",
    spec: OPERATORS,
    test: 'journals who was made and ended',
  },
  {
    name: 'approver-sees-the-credential',
    at: { file: 'activities/tool-gateway/src/gateway.ts' },
    find: 'credential: secretName ?? null };',
    replace: 'credential: null };',
    spec: 'integration:test/integration/grants-and-approvals.spec.ts',
    test: 'shows exactly the arguments, allows exactly them, and once',
  },
  {
    name: 'approver-sees-where-it-goes',
    at: { file: 'activities/policy/src/approvals.ts' },
    find: 'destination: target, adapter, toolVersion };',
    replace: 'destination: row.toolId, adapter, toolVersion };',
    spec: 'integration:test/integration/grants-and-approvals.spec.ts',
    test: 'shows exactly the arguments, allows exactly them, and once',
  },
];
