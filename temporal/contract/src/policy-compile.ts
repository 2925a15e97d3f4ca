import { createMongoAbility } from '@casl/ability';
import type { MongoAbility, RawRuleOf } from '@casl/ability';
import type { PolicyRule } from './policy-document.js';
import { factReader } from './policy-facts.js';
import type { FactReader, PolicyFacts, Scalar } from './policy-facts.js';
import { compileTest } from './policy-tests.js';
import type { CompiledTest } from './policy-tests.js';

export type CallSubject = Record<string, unknown> & { readonly __caslSubjectType__: 'Call' };
/** call: may it happen; ask: who must agree; limit: what is counted. */
type Ability = MongoAbility<['call' | 'ask' | 'limit', 'Call' | CallSubject]>;
type AbilityRule = RawRuleOf<Ability>;

/** One condition of one rule. */
interface Term {
  /** Name of the fact, as the rule has it. */
  readonly path: string;
  readonly test: CompiledTest;
  readonly reader: FactReader;
  /** Column of the fact itself, which CASL compares. */
  readonly column: string;
  /** Column that says whether the test holds, where CASL has no operator for it or the fact is a list. */
  readonly answer: string | undefined;
  /** For a list: whether one element is enough. It is for a rule that restricts, and never for one that allows. */
  readonly some: boolean;
}

export interface CompiledRule {
  readonly rule: PolicyRule;
  readonly terms: readonly Term[];
  /** Column of an allow rule that says whether every fact is there and of the type that the rule compares it with. */
  readonly readable: string;
  /** Whether it takes something away, so that it has to deny when it cannot read its facts. */
  readonly restricts: boolean;
  readonly sum: FactReader | undefined;
}

/** The rules of one tool, ready to ask. */
export interface ToolRules {
  readonly ability: Ability;
  readonly byId: ReadonlyMap<string, CompiledRule>;
  /** Whether a rule looks at what the run has done, and at which tools. */
  readonly asksRun: { readonly read: boolean; readonly done: readonly string[] } | undefined;
  /** Whether any rule asks a person, or counts: most tools have neither, and are not searched for it on each call. */
  readonly asks: boolean;
  readonly limits: boolean;
  /** Reads each fact once and answers what CASL does not compare. `blindRule`: the first that restricts and cannot read. */
  columns(facts: PolicyFacts): Record<string, unknown>;
  /** Whether that rule could read its facts in this row. */
  isReadable(rule: CompiledRule, row: Record<string, unknown>): boolean;
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
  const forbids = compiled.filter(({ rule }) => rule.effect === 'deny').map((each) => denial(each));
  const facts = [...names.values()];
  return {
    ability: createMongoAbility<Ability>([...permits, ...duties, ...forbids, BLIND]),
    byId: new Map(compiled.map((each) => [each.rule.id, each])),
    asksRun: asksRun([...names.keys()]),
    asks: rules.some((rule) => rule.approval !== undefined),
    limits: rules.some((rule) => rule.limit !== undefined),
    columns(call) {
      const row: Record<string, unknown> = { blind: false };
      for (const { column, reader } of facts) row[column] = reader.read(call);
      for (const each of compiled) {
        const readable = answer(each, row);
        if (!each.restricts) row[each.readable] = readable;
        else if (!readable) [row['blind'], row['blindRule']] = [true, each.rule.id];
      }
      return row;
    },
    isReadable: (each, row) => answer(each, { ...row }),
  };
}

function compileRule(
  rule: PolicyRule,
  nameOf: (path: string) => { column: string; reader: FactReader },
): CompiledRule {
  const terms = Object.entries(rule.when ?? {}).map(([path, test], index): Term => {
    const { column, reader } = nameOf(path);
    const compiled = compileTest(test);
    const own = compiled.query && !reader.each ? undefined : `${rule.id}:${index}`;
    return { path, test: compiled, reader, column, answer: own, some: rule.effect !== 'allow' };
  });
  const sum = rule.limit?.sum === undefined ? undefined : factReader(rule.limit.sum);
  const restricts = rule.effect !== 'allow' || rule.approval !== undefined;
  return { rule, terms, readable: `${rule.id}:readable`, restricts, sum };
}

/** Writes the answers that CASL cannot give itself; says whether every fact could be read. */
function answer({ terms }: CompiledRule, row: Record<string, unknown>): boolean {
  let all = true;
  for (const { test, reader, column, answer: own, some } of terms) {
    const fact = row[column];
    const good = reader.each ? isReadableList(test, fact) : test.readable(fact);
    all &&= good;
    if (own === undefined) continue;
    const facts = (reader.each ? fact : [fact]) as readonly Scalar[];
    row[own] =
      good && (some ? facts.some((item) => test.holds(item)) : facts.every((item) => test.holds(item)));
  }
  return all;
}

const isReadableList = (test: CompiledTest, fact: unknown): boolean =>
  Array.isArray(fact) && fact.every((item) => test.readable(item));

function matches(compiled: CompiledRule, action: 'call' | 'ask' | 'limit'): AbilityRule {
  const { rule, terms, readable, restricts } = compiled;
  const conditions: Record<string, unknown> = {};
  for (const { test, column, answer: own } of terms) {
    if (own === undefined) conditions[column] = test.query;
    else conditions[own] = true;
  }
  // without this, "is not X" would hold for what is not there; a rule that restricts has denied by then
  if (!restricts && terms.length > 0) conditions[readable] = true;
  return { action, subject: 'Call', conditions, reason: rule.id };
}

const denial = (compiled: CompiledRule): AbilityRule => ({ ...matches(compiled, 'call'), inverted: true });

/** A rule that restricts denies when it cannot read its facts. Last, so that it is asked first. */
const BLIND: AbilityRule = { action: 'call', subject: 'Call', inverted: true, conditions: { blind: true } };

function asksRun(paths: readonly string[]): ToolRules['asksRun'] {
  const done = paths.filter((path) => path.startsWith('run.done.')).map((path) => path.slice(9));
  const read = paths.some((path) => path.startsWith('run.read.'));
  return read || done.length > 0 ? { read, done } : undefined;
}
