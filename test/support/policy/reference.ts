import type { PolicyDocument, PolicyFacts, PolicyRule } from '@bulkhead/contract/policy';
import { ADDRESSES } from './corpus.js';

/**
 * What the documentation says, written down a second time and without CASL: slow, plain, and sharing no code with the
 * evaluator. Addresses are looked up in the table that says by hand which of them can be read.
 */

type Answer = 'yes' | 'no' | 'unreadable';
type Test = NonNullable<PolicyRule['when']>[string];

export function referenceVerdict({ rules }: PolicyDocument, facts: PolicyFacts): unknown {
  const mine = rules.filter((rule) => rule.tools.some((pattern) => covers(pattern, facts.tool)));
  const said = new Map(mine.map((rule) => [rule, answerOf(rule, facts)]));
  const that = (filter: (rule: PolicyRule, answer: Answer) => boolean): PolicyRule[] =>
    mine.filter((rule) => filter(rule, said.get(rule) ?? 'no')).sort((a, b) => (a.id < b.id ? -1 : 1));
  const restricts = (rule: PolicyRule): boolean => rule.effect !== 'allow' || rule.approval !== undefined;

  // a rule that restricts and cannot read its facts speaks first
  const [blind] = that((rule, answer) => restricts(rule) && answer === 'unreadable');
  const [denied] = blind ? [blind] : that((rule, answer) => rule.effect === 'deny' && answer === 'yes');
  if (denied) return { kind: 'deny', rule: denied.id };
  const [allowed] = that((rule, answer) => rule.effect === 'allow' && answer === 'yes');
  if (!allowed) return { kind: 'deny', rule: 'default-deny' };

  const limits = that((rule, answer) => rule.effect === 'limit' && answer === 'yes').map((rule) => {
    const amount = rule.limit?.sum === undefined ? 1 : (facts.args as { a?: unknown }).a;
    return { rule: rule.id, of: rule.limit?.of, per: rule.limit?.per, max: rule.limit?.max, amount };
  });
  const unpayable = limits.find(({ amount }) => typeof amount !== 'number' || amount < 0);
  if (unpayable) return { kind: 'deny', rule: unpayable.rule };
  const order = ['tenant', 'workspace', 'agent', 'run'];
  limits.sort((a, b) => order.indexOf(a.of ?? '') - order.indexOf(b.of ?? ''));

  const asking = that((rule, answer) => rule.approval !== undefined && answer === 'yes');
  const taken = limits.length === 0 ? {} : { limits };
  if (asking.length === 0) return { kind: 'allow', rule: allowed.id, ...taken };
  const approvers = (['admin', 'operator'] as const).filter((role) =>
    asking.every((rule) => rule.approval?.approvers.includes(role)),
  );
  const named = asking[0]?.id;
  if (approvers.length === 0) return { kind: 'deny', rule: named };
  const expiresInSeconds = Math.min(...asking.map((rule) => rule.approval?.expiresInSeconds ?? 0));
  return { kind: 'allow', rule: named, approval: { approvers, expiresInSeconds }, ...taken };
}

function covers(pattern: string, tool: string): boolean {
  if (pattern === '*') return true;
  if (!pattern.endsWith('.*')) return pattern === tool;
  const parts = pattern.slice(0, -2).split('.');
  return tool.split('.').length > parts.length && parts.every((part, i) => tool.split('.')[i] === part);
}

function answerOf(rule: PolicyRule, facts: PolicyFacts): Answer {
  const answers = Object.entries(rule.when ?? {}).map(([path, test]) => conditionOf(rule, path, test, facts));
  if (answers.includes('unreadable')) return 'unreadable';
  return answers.includes('no') ? 'no' : 'yes';
}

function conditionOf(rule: PolicyRule, path: string, test: Test, facts: PolicyFacts): Answer {
  if (!path.endsWith('[]')) return testOf(test, factOf(path, facts));
  const list = factOf(path.slice(0, -2), facts);
  if (!Array.isArray(list) || list.length === 0) return 'unreadable';
  const each = list.map((item: unknown) => testOf(test, item));
  if (each.includes('unreadable')) return 'unreadable';
  return (rule.effect === 'allow' ? !each.includes('no') : each.includes('yes')) ? 'yes' : 'no';
}

function factOf(path: string, facts: PolicyFacts): unknown {
  if (path === 'run.read.personal') return facts.run.read.includes('personal');
  if (path === 'run.done.crm.read') return (facts.run.done as readonly string[]).includes('crm.read');
  if (path === 'data.personal') return facts.dataClasses.includes('personal');
  let at: unknown = facts;
  for (const name of path.split('.')) {
    if (at === null || typeof at !== 'object' || Array.isArray(at)) return undefined;
    at = new Map(Object.entries(at)).get(name);
  }
  return at;
}

function testOf(test: Test, fact: unknown): Answer {
  const { eq, ne, in: among, notIn, gt, gte, lt, lte, startsWith, endsWith, domain, notDomain } = test;
  const sample = [
    eq,
    ne,
    among?.[0],
    notIn?.[0],
    gt,
    gte,
    lt,
    lte,
    startsWith,
    endsWith,
    domain?.[0],
    notDomain?.[0],
  ];
  const type = typeof sample.find((operand) => operand !== undefined);
  if (typeof fact !== type || fact === null || fact === undefined) return 'unreadable';
  const [value, text] = [fact as string, String(fact)];
  if ((domain || notDomain) && !readable(text)) return 'unreadable';
  const inside = (list: readonly string[]): boolean => {
    const host = text.split('@').at(-1) ?? '';
    return list.some((name) => `.${host}`.endsWith(`.${name}`));
  };
  const failed =
    (eq !== undefined && fact !== eq) ||
    (ne !== undefined && fact === ne) ||
    (among && !among.includes(value)) ||
    (notIn?.includes(value) ?? false) ||
    (gt !== undefined && !(value > gt)) ||
    (gte !== undefined && !(value >= gte)) ||
    (lt !== undefined && !(value < lt)) ||
    (lte !== undefined && !(value <= lte)) ||
    (startsWith !== undefined && text.slice(0, startsWith.length) !== startsWith) ||
    (endsWith !== undefined &&
      (text.length < endsWith.length || text.slice(-endsWith.length) !== endsWith)) ||
    (domain && !inside(domain)) ||
    (notDomain && inside(notDomain));
  return failed ? 'no' : 'yes';
}

/** Hosts of the corpus beside its addresses; the short words are hosts, too. */
const HOSTS = ['corp.example', 'api.evil.org', 'a', 'ab', 'b'];
const readable = (text: string): boolean =>
  HOSTS.includes(text) || ADDRESSES.some(([address, good]) => good && address === text);
