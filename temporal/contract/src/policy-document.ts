import { z } from 'zod';

/** What a tenant's admin writes: who may call which tool, under which conditions. Order of the rules means nothing. */

const SLUG = /^[a-z][a-z0-9-]{0,62}$/;
/** A tool's exact id, `prefix.*`, or `*`. */
const TOOL_PATTERN = /^(\*|[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*){0,4}(\.\*)?)$/;
/** `tool`, `system`, ... or one argument, e.g. `args.ticketId`. Names of the prototype chain are no facts. */
const FACT =
  /^(tool|system|effect|agent|workspace|actor|destination\.(host|port|path)|args(\.(?!(__proto__|prototype|constructor)(\.|$))[A-Za-z0-9_-]{1,64}){1,8})$/;

const CONDITIONS_MAX = 32;
const Scalar = z.union([z.string().max(2_000), z.number(), z.boolean()]);
const Ordered = z.union([z.string().max(2_000), z.number()]);

/** A list with one type: a fact of another type is "wrongly typed" for all of it, never half of it. */
const ScalarList = z
  .array(Scalar)
  .min(1)
  .max(500)
  .refine((items) => new Set(items.map((item) => typeof item)).size === 1, 'the values differ in type');

/** All given operators must hold. */
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
  .record(z.string().regex(FACT, 'not a fact'), Test)
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

const Rule = z
  .strictObject({
    id: z.string().regex(SLUG),
    effect: z.enum(['allow', 'deny']),
    tools: z.array(z.string().max(120).regex(TOOL_PATTERN)).min(1).max(200),
    when: When.optional(),
    /** Obligation: a person decides on exactly these arguments first. */
    approval: Approval.optional(),
    /** Shown to whoever is refused. */
    reason: z.string().min(1).max(500).optional(),
  })
  .refine((rule) => rule.effect === 'allow' || rule.approval === undefined, {
    message: 'only an allow rule can ask for approval',
    path: ['approval'],
  })
  .refine((rule) => !RESERVED.has(rule.id), { message: 'this name is reserved', path: ['id'] });

/** Names under which the platform itself refuses. */
export const DEFAULT_DENY = 'default-deny';
const RESERVED = new Set([DEFAULT_DENY, 'no-policy', 'policy-unreadable']);

export const PolicyDocumentSchema = z
  .strictObject({ rules: z.array(Rule).max(2_000) })
  .refine(({ rules }) => new Set(rules.map((rule) => rule.id)).size === rules.length, {
    message: 'two rules have the same id',
    path: ['rules'],
  });

export type PolicyDocument = z.infer<typeof PolicyDocumentSchema>;
export type PolicyRule = PolicyDocument['rules'][number];
export type PolicyTest = z.infer<typeof Test>;
export type PolicyApproval = z.infer<typeof Approval>;
