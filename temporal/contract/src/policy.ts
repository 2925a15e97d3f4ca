import { createMongoAbility, subject } from '@casl/ability';
import type { MongoAbility, RawRuleOf } from '@casl/ability';
import { DEFAULT_DENY } from './policy-document.js';
import type { PolicyApproval, PolicyDocument, PolicyRule, PolicyTest } from './policy-document.js';
import { factAt } from './policy-facts.js';
import type { PolicyFacts } from './policy-facts.js';

export { DEFAULT_DENY, PolicyDocumentSchema } from './policy-document.js';
export type { PolicyApproval, PolicyDocument, PolicyRule } from './policy-document.js';
export type { PolicyFacts } from './policy-facts.js';

export type PolicyVerdict =
  | { readonly kind: 'allow'; readonly rule: string; readonly approval?: PolicyApproval }
  | { readonly kind: 'deny'; readonly rule: string; readonly message: string };

export interface CompiledPolicy {
  evaluate(facts: PolicyFacts): PolicyVerdict;
}

type Ability = MongoAbility<['call', 'Call' | CallSubject]>;
type AbilityRule = RawRuleOf<Ability>;
type CallSubject = Record<string, unknown> & { readonly __caslSubjectType__: 'Call' };

/** The rules of one tool, ready to ask. */
interface ToolRules {
  readonly ability: Ability;
  readonly byId: ReadonlyMap<string, PolicyRule>;
  /** Facts that rules name, with the column under which the subject carries each. */
  readonly columns: ReadonlyMap<string, string>;
}

const OPERATORS = {
  eq: '$eq',
  ne: '$ne',
  in: '$in',
  notIn: '$nin',
  gt: '$gt',
  gte: '$gte',
  lt: '$lt',
  lte: '$lte',
} as const satisfies Record<keyof PolicyTest, string>;

/** Tools whose rules are kept compiled; an id that is no tool never gets here, so this is a bound, not a tuning knob. */
const TOOLS_MAX = 2_000;

/**
 * Compiles a published document on CASL. CASL fails open in four known ways; each is closed here (see policy.spec.ts):
 * `cannot` before `can` allows, a check by type name ignores conditions, an absent fact passes a condition, and a deny
 * on a field passes when no field is given. So: allow rules come first and deny rules last, whatever their order was;
 * only a subject instance is ever asked about; every rule carries "my facts are all there and of my types" as a
 * condition; and there are no field rules.
 */
export function compilePolicy(document: PolicyDocument): CompiledPolicy {
  const tools = new Map<string, ToolRules>();
  return {
    evaluate(facts) {
      let rules = tools.get(facts.tool);
      if (!rules) {
        rules = compileTool(document.rules.filter((rule) => covers(rule, facts.tool)));
        const oldest = tools.size >= TOOLS_MAX ? tools.keys().next().value : undefined;
        if (oldest !== undefined) tools.delete(oldest);
        tools.set(facts.tool, rules);
      }
      return verdict(rules, facts);
    },
  };
}

function covers(rule: PolicyRule, tool: string): boolean {
  return rule.tools.some(
    (pattern) =>
      pattern === '*' ||
      pattern === tool ||
      (pattern.endsWith('.*') && tool.startsWith(pattern.slice(0, -1))),
  );
}

function compileTool(rules: readonly PolicyRule[]): ToolRules {
  const columns = new Map<string, string>();
  for (const path of rules.flatMap((rule) => Object.keys(rule.when ?? {}))) {
    if (!columns.has(path)) columns.set(path, `fact${columns.size}`);
  }
  // by id, so that which rule is named never depends on how the document was sorted
  const sorted = [...rules].sort((a, b) => (a.id < b.id ? 1 : -1));
  const allows = sorted.filter((rule) => rule.effect === 'allow').map((rule) => allowRule(rule, columns));
  const denies = sorted.flatMap((rule) => denyRules(rule, columns));
  return {
    ability: createMongoAbility<Ability>([...allows, ...denies]),
    byId: new Map(rules.map((rule) => [rule.id, rule])),
    columns,
  };
}

const readable = (rule: PolicyRule): string => `readable:${rule.id}`;

function conditionsOf(rule: PolicyRule, columns: ReadonlyMap<string, string>): Record<string, unknown> {
  const tests = Object.entries(rule.when ?? {}).map(([path, test]) => {
    const query = Object.entries(test).map(([name, operand]) => [
      OPERATORS[name as keyof PolicyTest],
      operand,
    ]);
    return [columns.get(path), Object.fromEntries(query)] as const;
  });
  return { ...Object.fromEntries(tests), [readable(rule)]: true };
}

function allowRule(rule: PolicyRule, columns: ReadonlyMap<string, string>): AbilityRule {
  return { action: 'call', subject: 'Call', conditions: conditionsOf(rule, columns), reason: rule.id };
}

/** A deny rule bites when it holds, and, like an approval rule, also when its facts cannot be read. */
function denyRules(rule: PolicyRule, columns: ReadonlyMap<string, string>): AbilityRule[] {
  const base = { action: 'call', subject: 'Call', inverted: true, reason: rule.id } as const;
  const unreadable: AbilityRule = { ...base, conditions: { [readable(rule)]: false } };
  if (rule.effect === 'deny') return [unreadable, { ...base, conditions: conditionsOf(rule, columns) }];
  return rule.approval ? [unreadable] : [];
}

function verdict(rules: ToolRules, facts: PolicyFacts): PolicyVerdict {
  const call = subjectOf(rules, facts);
  const matching = rules.ability.rulesFor('call', 'Call').filter((rule) => rule.matchesConditions(call));
  const decisive = rules.ability.relevantRuleFor('call', call);
  if (!decisive) {
    return { kind: 'deny', rule: DEFAULT_DENY, message: `No rule allows ${facts.tool}.` };
  }
  const rule = ruleOf(rules, decisive.reason);
  if (decisive.inverted) return deny(rule, call[readable(rule)] === true);
  const approvals = matching
    .filter((match) => !match.inverted)
    .map((match) => ruleOf(rules, match.reason))
    .filter((allow) => allow.approval !== undefined);
  return approvals.length === 0 ? { kind: 'allow', rule: rule.id } : allowWithApproval(approvals);
}

/** Only a subject instance is ever asked about: by type name alone, CASL ignores conditions. */
function subjectOf(rules: ToolRules, facts: PolicyFacts): CallSubject {
  const values: Record<string, unknown> = {};
  for (const [path, column] of rules.columns) values[column] = factAt(facts, path);
  for (const rule of rules.byId.values()) {
    values[readable(rule)] = Object.entries(rule.when ?? {}).every(
      ([path, test]) => typeof factAt(facts, path) === operandType(test),
    );
  }
  return subject('Call', values) as CallSubject;
}

/** All operands of a test have one type (the schema sees to it). */
function operandType(test: PolicyTest): string {
  const [first] = Object.values(test).flat();
  return typeof first;
}

function deny(rule: PolicyRule, factsWereReadable: boolean): PolicyVerdict {
  const why = rule.reason ?? `Rule ${rule.id} forbids this call.`;
  const message = factsWereReadable
    ? why
    : `${why} (A fact that the rule looks at is missing or of another type.)`;
  return { kind: 'deny', rule: rule.id, message };
}

/** Several rules may ask for approval: only who satisfies all of them may decide, within the shortest time. */
function allowWithApproval(rules: readonly PolicyRule[]): PolicyVerdict {
  const approvals = rules.flatMap((rule) => rule.approval ?? []);
  const [first, ...others] = approvals;
  const named = rules.map((rule) => rule.id).sort()[0] ?? DEFAULT_DENY;
  const approvers = (first?.approvers ?? []).filter((role) =>
    others.every((approval) => approval.approvers.includes(role)),
  );
  if (approvers.length === 0) {
    return { kind: 'deny', rule: named, message: 'The rules that ask for approval name no common approver.' };
  }
  const expiresInSeconds = Math.min(...approvals.map((approval) => approval.expiresInSeconds));
  return {
    kind: 'allow',
    rule: named,
    approval: { approvers: [...new Set(approvers)].sort(), expiresInSeconds },
  };
}

function ruleOf(rules: ToolRules, id: string | undefined): PolicyRule {
  const rule = id === undefined ? undefined : rules.byId.get(id);
  if (!rule) throw new Error('a compiled rule has lost its origin');
  return rule;
}
