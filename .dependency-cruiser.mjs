// The import table of docs/architecture.md as rules. Package exports close the doors; these say who may knock.
const CAPABILITIES = '^activities/[^/]+/';
const entry = (name) => `^activities/[^/]+/src/${name}\\.ts$`;

/** A room may import itself, the listed rooms and npm packages, nothing else of the workspace. */
const room = (name, from, allowed, comment) => ({
  name,
  comment,
  severity: 'error',
  from: { path: from, pathNot: '\\.spec\\.ts$' },
  to: {
    path: '^(apps|workflows|activities|prisma|temporal|test|tools)/',
    pathNot: [from, ...allowed],
  },
});
const vendor = (name, from, packages, comment) => ({
  name,
  comment,
  severity: 'error',
  from: { path: from, pathNot: '\\.spec\\.ts$' },
  to: { path: `(^|/)node_modules/(${packages})/` },
});
const builtins = (name, from) => ({
  name,
  severity: 'error',
  comment: 'This code also runs in the workflow sandbox, which has no Node.',
  from: { path: from, pathNot: '\\.spec\\.ts$' },
  to: { dependencyTypes: ['core'] },
});

const CONTRACT = '^temporal/contract/src/index\\.ts$';
const CONTRACT_ALL = '^temporal/contract/src/';

export default {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'no-unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    { name: 'nothing-imports-test', severity: 'error', from: { pathNot: '^test/' }, to: { path: '^test/' } },
    {
      name: 'nothing-imports-tools',
      severity: 'error',
      from: { pathNot: '^(test|tools)/' },
      to: { path: '^tools/' },
    },

    room('contract-stands-alone', '^temporal/contract/', [], 'The contract imports no other room.'),
    builtins('contract-no-node', '^temporal/contract/src/'),
    vendor('contract-index-no-packages', CONTRACT, '.+', 'Workflows bundle it: no run-time package.'),
    vendor(
      'contract-zod-in-schemas-only',
      '^temporal/contract/src/(?!schemas|policy)',
      'zod',
      'zod stays out of the workflow bundle.',
    ),
    vendor(
      'contract-casl-in-policy-only',
      '^temporal/contract/src/(?!policy)',
      '@casl',
      'CASL stays out of the workflow bundle.',
    ),

    room(
      'runtime-imports-contract',
      '^temporal/runtime/',
      [CONTRACT_ALL],
      'runtime: contract, @temporalio, node.',
    ),
    room(
      'server-imports-contract',
      '^temporal/server/',
      [CONTRACT_ALL],
      'server: contract, @temporalio, node.',
    ),
    room('prisma-imports-contract', '^prisma/', [CONTRACT_ALL], 'prisma: contract, Prisma, pg.'),

    room(
      'workflows-are-pure',
      '^workflows/',
      [CONTRACT],
      'workflows: the contract and @temporalio/workflow only.',
    ),
    { ...builtins('workflows-no-node', '^workflows/src/(?!bundle|build)') },
    {
      name: 'workflows-only-temporal',
      severity: 'error',
      comment: 'Workflow code bundles @temporalio/workflow and the contract only.',
      from: { path: '^workflows/src/(?!bundle|build)', pathNot: '\\.spec\\.ts$' },
      to: { path: '(^|/)node_modules/', pathNot: '(^|/)node_modules/@temporalio/(workflow|common)/' },
    },

    room(
      'activities',
      CAPABILITIES,
      [
        CONTRACT_ALL,
        '^temporal/runtime/src/(keys|envelope)',
        '^prisma/src/(tenant|control)\\.ts$',
        entry('(line|admin|control)'),
      ],
      'activities: contract, the key ring, prisma, and each other by entry.',
    ),
    {
      name: 'control-door-in-control-only',
      severity: 'error',
      comment: "Only control parts, the control process and the API's authentication see all tenants.",
      from: {
        pathNot: [
          '^prisma/',
          '^apps/worker/src/',
          '^apps/api/src/',
          '^activities/[^/]+/src/control',
          '^(test|tools)/',
          '\\.spec\\.ts$',
        ],
      },
      to: { path: '^prisma/src/control\\.ts$' },
    },
    {
      name: 'host-has-no-control-door',
      severity: 'error',
      from: { path: '^apps/worker/src/host' },
      to: { path: '^prisma/src/control\\.ts$', dependencyTypesNot: ['type-only'] },
    },
    vendor(
      'vendor-sdks-in-adapters-only',
      '^activities/(?!tool-gateway/src/adapters/|[^/]+/src/providers/)',
      '(@modelcontextprotocol|ai|@ai-sdk)',
      'Vendor SDKs stay inside adapters.',
    ),
    vendor(
      'no-nest-in-capabilities',
      '^(activities|prisma|temporal|workflows)/',
      '@nestjs',
      'Capabilities know no framework.',
    ),

    room(
      'api',
      '^apps/api/',
      [CONTRACT_ALL, '^temporal/runtime/', '^prisma/src/(tenant|control)\\.ts$', entry('admin')],
      'api: contract, runtime, prisma, capabilities by ./admin.',
    ),
    room(
      'worker',
      '^apps/worker/',
      [
        CONTRACT_ALL,
        '^temporal/runtime/',
        '^prisma/src/(tenant|control)\\.ts$',
        entry('(line|control)'),
        '^workflows/src/bundle\\.ts$',
      ],
      'worker: composes runtime, activities, prisma; workflows by bundle path.',
    ),
    {
      name: 'line-in-worker-only',
      severity: 'error',
      from: { pathNot: ['^apps/worker/', CAPABILITIES, '^test/'] },
      to: { path: entry('line') },
    },
    {
      name: 'e2e-speaks-graphql-only',
      severity: 'error',
      from: { path: '^test/e2e/' },
      to: { path: '^(apps|workflows|activities|prisma|temporal)/' },
    },
  ],
  options: {
    tsPreCompilationDeps: 'specify',
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(/dist/|prisma/src/generated|\\.data)' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['@bulkhead/source', 'import', 'node', 'default', 'types'],
    },
  },
};
