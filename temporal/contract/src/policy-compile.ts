import { createMongoAbility } from '@casl/ability';
import type { MongoAbility, RawRuleOf } from '@casl/ability';
import type { PolicyRule, PolicyTest } from './policy-document.js';
import { factReader } from './policy-facts.js';
import type { FactReader, PolicyFacts, Scalar } from './policy-facts.js';
import { CASL_OPERATORS, holds, isReadable, operatorsOf } from './policy-tests.js';

export type CallSubject = Record<string, unknown> & { readonly __caslSubjectType__: 'Call' };
/** call: may it happen; ask: who must agree; limit: what is counted. */
type Ability = MongoAbility<['call' | 'ask' | 'limit', 'Call' | CallSubject]>;
type AbilityRule = RawRuleOf<Ability>;

/** One condition of one rule. */
interface Term {
  readonly test: PolicyTest;
  readonly reader: FactReader;
  /** Column of the fact itself, which CASL compares. */
  readonly column: string;
  /** Column that says whether the test holds, where CASL has no operator for it or the fact is a list. */
  readonly answer: string | undefined;
  /** For a list: whether one element is enough. It is for a rule that restricts, and never for one that allows. */
  readonly some: boolean;
}

interface CompiledRule {
  readonly rule: PolicyRule;
  readonly terms: readonly Term[];
  /** Column that says whether every fact is there and of the type that the rule compares it with. */
  readonly readable: string;
  readonly sum: FactReader | undefined;
}

/** The rules of one tool, ready to ask. */
export interface ToolRules {
  readonly ability: Ability;
  readonly byId: ReadonlyMap<string, CompiledRule>;
  /** Whether a rule looks at what the run has done, and at which tools. */
  readonly asksRun: { readonly read: boolean; readonly done: readonly string[] } | undefined;
  /** Reads each fact once and answers what CASL does not compare. */
  columns(facts: PolicyFacts): Record<string, unknown>;
}

export function compileTool(rules: readonly PolicyRule[]): ToolRules {
  const names = new Map<string, { column: string; reader: FactReader }>();
  const nameOf = (path: string): { column: string; reader: FactReader } => {
    const known = names.get(path) ?? { column: `fact${names.size}`, reader: factReader(path) };
    names.set(path, known);
    return known;
  };
  // by id, so that which rule is named never depends on how the document was sorted; of several, CASL takes the last
  const compiled = [...rules].sort((a, b) => (a.id < b.id ? 1 : -1)).map((rule) => compileRule(rule, nameOf));
  // allow rules first and deny rules last, whatever their order was: in CASL a later rule wins
  const permits = compiled.filter(({ rule }) => rule.effect === 'allow').map((each) => matches(each, 'call'));
  const duties = compiled.flatMap((each) =>
    each.rule.effect === 'ask' || each.rule.effect === 'limit' ? [matches(each, each.rule.effect)] : [],
  );
  const forbids = compiled.flatMap(denials);
  const facts = [...names.values()];
  return {
    ability: createMongoAbility<Ability>([...permits, ...duties, ...forbids]),
    byId: new Map(compiled.map((each) => [each.rule.id, each])),
    asksRun: asksRun([...names.keys()]),
    columns(call) {
      const row: Record<string, unknown> = {};
      for (const { column, reader } of facts) row[column] = reader.read(call);
      for (const each of compiled) answer(each, row);
      return row;
    },
  };
}

function compileRule(
  rule: PolicyRule,
  nameOf: (path: string) => { column: string; reader: FactReader },
): CompiledRule {
  const terms = Object.entries(rule.when ?? {}).map(([path, test], index): Term => {
    const { column, reader } = nameOf(path);
    const plain =
      !reader.each && operatorsOf(test).every((operator) => Object.hasOwn(CASL_OPERATORS, operator));
    const own = plain ? undefined : `${rule.id}:${index}`;
    return { test, reader, column, answer: own, some: rule.effect !== 'allow' };
  });
  const sum = rule.limit?.sum === undefined ? undefined : factReader(rule.limit.sum);
  return { rule, terms, readable: `${rule.id}:readable`, sum };
}

function answer({ terms, readable }: CompiledRule, row: Record<string, unknown>): void {
  let all = true;
  for (const { test, reader, column, answer: own, some } of terms) {
    const facts = (reader.each ? row[column] : [row[column]]) as readonly (Scalar | undefined)[] | undefined;
    const good = facts?.every((fact) => isReadable(test, fact)) ?? false;
    all &&= good;
    if (own === undefined) continue;
    const tell = (fact: Scalar | undefined): boolean => fact !== undefined && holds(test, fact);
    row[own] = good && (some ? facts?.some(tell) : facts?.every(tell));
  }
  if (terms.length > 0) row[readable] = all;
}

function conditionsOf({ terms, readable }: CompiledRule): Record<string, unknown> {
  const conditions: Record<string, unknown> = {};
  for (const { test, column, answer: own } of terms) {
    if (own === undefined) conditions[column] = query(test);
    else conditions[own] = true;
  }
  return terms.length === 0 ? {} : { ...conditions, [readable]: true };
}

const query = (test: PolicyTest): Record<string, unknown> =>
  Object.fromEntries(
    operatorsOf(test).map((operator) => [
      CASL_OPERATORS[operator as keyof typeof CASL_OPERATORS],
      test[operator],
    ]),
  );

const matches = (compiled: CompiledRule, action: 'call' | 'ask' | 'limit'): AbilityRule => ({
  action,
  subject: 'Call',
  conditions: conditionsOf(compiled),
  reason: compiled.rule.id,
});

/** A deny rule bites when it holds, and, like every rule that restricts, also when its facts cannot be read. */
function denials(compiled: CompiledRule): AbilityRule[] {
  const { rule, terms, readable } = compiled;
  const base = { action: 'call', subject: 'Call', inverted: true, reason: rule.id } as const;
  const unreadable: AbilityRule[] =
    terms.length === 0 ? [] : [{ ...base, conditions: { [readable]: false } }];
  if (rule.effect === 'deny') return [...unreadable, { ...base, conditions: conditionsOf(compiled) }];
  return rule.effect === 'allow' && !rule.approval ? [] : unreadable;
}

function asksRun(paths: readonly string[]): ToolRules['asksRun'] {
  const done = paths.filter((path) => path.startsWith('run.done.')).map((path) => path.slice(9));
  const read = paths.some((path) => path.startsWith('run.read.'));
  return read || done.length > 0 ? { read, done } : undefined;
}
