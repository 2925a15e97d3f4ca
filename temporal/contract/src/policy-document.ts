import { z } from 'zod';
import { SettingsSchema } from './policy-settings.js';

/** What a tenant's admin writes: who may call which tool, under which conditions. Order of the rules means nothing. */

const SLUG = /^[a-z][a-z0-9-]{0,62}$/;
/** A tool's exact id, `prefix.*`, or `*`. */
const TOOL_PATTERN = /^(\*|[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*){0,4}(\.\*)?)$/;
const ARGUMENT = String.raw`args(\.(?!(__proto__|prototype|constructor)(\.|$))[A-Za-z0-9_-]{1,64}){1,8}`;
/** One argument, e.g. `args.ticketId`. Names of the prototype chain are no facts. */
const ARGUMENT_FACT = new RegExp(`^${ARGUMENT}$`);
/** `tool`, `system`, ... or an argument; `args.to[]` looks at each element of a list. */
const FACT = new RegExp(
  String.raw`^(tool|system|effect|agent|workspace|actor|model|destination\.(host|port|path)` +
    String.raw`|time\.(hour|minute|weekday|date)|(data|run\.read)\.[a-z][a-z0-9-]{0,62}` +
    String.raw`|run\.done(\.[a-z][a-z0-9_-]*){1,5}|${ARGUMENT}(\[\])?)$`,
);

const CONDITIONS_MAX = 32;
export const RULES_MAX = 2_000;

const Text = z.string().max(2_000);
const Scalar = z.union([Text, z.number(), z.boolean()]);
const Ordered = z.union([Text, z.number()]);
/** The end of a host or of an e-mail address, at a dot: `example.com` covers `mail.example.com`, not `badexample.com`. */
const Domain = z
  .string()
  .max(253)
  .regex(/^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/, 'not a domain');
const Domains = z.array(Domain).min(1).max(500);

/** A list with one type: a fact of another type is "wrongly typed" for all of it, never half of it. */
const ScalarList = z
  .array(Scalar)
  .min(1)
  .max(500)
  .refine((items) => new Set(items.map((item) => typeof item)).size === 1, 'the values differ in type');

/** All given operators must hold. There is no regular expression: a hostile one could hold up every call. */
const Test = z
  .strictObject({
    eq: Scalar.optional(),
    ne: Scalar.optional(),
    in: ScalarList.optional(),
    notIn: ScalarList.optional(),
    gt: Ordered.optional(),
    gte: Ordered.optional(),
    lt: Ordered.optional(),
    lte: Ordered.optional(),
    startsWith: Text.min(1).optional(),
    endsWith: Text.min(1).optional(),
    domain: Domains.optional(),
    notDomain: Domains.optional(),
  })
  .refine((test) => Object.keys(test).length > 0 && !Object.values(test).includes(undefined), {
    message: 'give at least one operator, each with a value',
  })
  .refine(
    (test) =>
      new Set(
        Object.values(test)
          .flat()
          .map((operand) => typeof operand),
      ).size <= 1,
    {
      message: 'the operators compare with different types',
    },
  );

const When = z
  .record(z.string().max(700).regex(FACT, 'not a fact'), Test)
  .refine((when) => Object.keys(when).length <= CONDITIONS_MAX, `at most ${CONDITIONS_MAX} conditions`);

const Approval = z.strictObject({
  /** Roles that may decide. */
  approvers: z
    .array(z.enum(['admin', 'operator']))
    .min(1)
    .max(8),
  expiresInSeconds: z
    .int()
    .min(1)
    .max(30 * 86_400),
});

/** At most `max` calls, or a running total of at most `max`, in each window of the clock (UTC). */
const Limit = z.strictObject({
  max: z.number().min(0).max(1e12),
  /** The argument to add up; without it calls are counted. */
  sum: z.string().max(600).regex(ARGUMENT_FACT, 'not an argument').optional(),
  per: z.enum(['minute', 'hour', 'day', 'ever']),
  /** Whose calls share the count. */
  of: z.enum(['tenant', 'workspace', 'agent', 'run']),
});

const Rule = z
  .strictObject({
    id: z.string().regex(SLUG),
    /** allow permits. The others only restrict what some allow rule permits: deny wins, ask wants a person, limit counts. */
    effect: z.enum(['allow', 'deny', 'ask', 'limit']),
    tools: z.array(z.string().max(120).regex(TOOL_PATTERN)).min(1).max(200),
    when: When.optional(),
    /** Obligation: a person decides on exactly these arguments first. */
    approval: Approval.optional(),
    limit: Limit.optional(),
    /** Shown to whoever is refused. */
    reason: z.string().min(1).max(500).optional(),
  })
  .refine((rule) => rule.approval === undefined || rule.effect === 'allow' || rule.effect === 'ask', {
    message: 'only an allow or ask rule can ask for approval',
    path: ['approval'],
  })
  .refine((rule) => rule.effect !== 'ask' || rule.approval !== undefined, {
    message: 'an ask rule says who may approve',
    path: ['approval'],
  })
  .refine((rule) => (rule.effect === 'limit') === (rule.limit !== undefined), {
    message: 'a limit rule, and only that, has a limit',
    path: ['limit'],
  })
  .refine((rule) => !RESERVED.has(rule.id), { message: 'this name is reserved', path: ['id'] });

/** Names under which the platform itself decides. */
export const DEFAULT_DENY = 'default-deny';
export const READ_ONLY = 'read-only';
export const OBSERVE_ONLY = 'observe-only';
const RESERVED = new Set([DEFAULT_DENY, READ_ONLY, OBSERVE_ONLY, 'no-policy', 'policy-unreadable']);

/**
 * enforce: as written. observe: nothing is refused, what would have been is journalled. read-only: whatever changes
 * something is refused. frozen: as enforce, and only further deny and ask rules can be published.
 */
export const POLICY_MODES = ['enforce', 'observe', 'read-only', 'frozen'] as const;

export const PolicyDocumentSchema = z
  .strictObject({
    mode: z.enum(POLICY_MODES).optional(),
    rules: z.array(Rule).max(RULES_MAX),
    settings: SettingsSchema.optional(),
  })
  .refine(({ rules }) => new Set(rules.map((rule) => rule.id)).size === rules.length, {
    message: 'two rules have the same id',
    path: ['rules'],
  });

export type PolicyDocument = z.infer<typeof PolicyDocumentSchema>;
export type PolicyMode = (typeof POLICY_MODES)[number];
export type PolicyRule = PolicyDocument['rules'][number];
export type PolicyTest = z.infer<typeof Test>;
export type PolicyApproval = z.infer<typeof Approval>;
export type PolicyLimit = z.infer<typeof Limit>;
