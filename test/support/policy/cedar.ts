import { preparsePolicySet, statefulIsAuthorized } from '@cedar-policy/cedar-wasm/nodejs';
import type { CedarValueJson } from '@cedar-policy/cedar-wasm/nodejs';
import type { PolicyDocument, PolicyFacts, PolicyRule } from '@bulkhead/contract/policy';
import { ADDRESSES } from './corpus.js';

/**
 * The same document in the language of Cedar, an engine that we did not write, for the portable part of ours. A fact is
 * a record that carries its value under the name of its type, so "missing or of another type" is `!(... has ...)`.
 */

type Test = NonNullable<PolicyRule['when']>[string];

/** Gives the document to Cedar under a name. @throws Error when Cedar cannot read the translation. */
export function loadCedar(name: string, { rules }: PolicyDocument): void {
  const staticPolicies = rules.flatMap(cedarRules).join('\n');
  const answer = preparsePolicySet(name, { staticPolicies });
  if (answer.type === 'failure') throw new Error(`${answer.errors[0]?.message}\n${staticPolicies}`);
}

export function cedarDecides(name: string, facts: PolicyFacts): 'allow' | 'deny' {
  const answer = statefulIsAuthorized({
    principal: { type: 'Agent', id: facts.agent },
    action: { type: 'Action', id: 'call' },
    resource: { type: 'Tool', id: facts.tool },
    context: contextOf(facts),
    entities: [],
    preparsedPolicySetId: name,
    validateRequest: false,
  });
  if (answer.type === 'failure') throw new Error(answer.errors[0]?.message ?? 'Cedar failed');
  // an error in a policy would leave that policy out: the translation must never meet one
  const [error] = answer.response.diagnostics.errors;
  if (error) throw new Error(error.error.message);
  return answer.response.decision;
}

function cedarRules(rule: PolicyRule): string[] {
  const tool = rule.tools.map((pattern) => toolTest(pattern)).join(' || ');
  const terms = Object.entries(rule.when ?? {}).map(([path, test]) => termOf(rule, path, test));
  const readable = terms.map((term) => `(${term.readable})`).join(' && ');
  const holds = ['true', ...terms.map((term) => `(${term.readable}) && (${term.holds})`)].join(' && ');
  const write = (effect: string, condition: string): string =>
    `${effect}(principal, action, resource) when { (${tool}) && (${condition}) };`;
  const unreadable = terms.length === 0 ? [] : [write('forbid', `!(${readable})`)];
  if (rule.effect === 'deny') return [...unreadable, write('forbid', holds)];
  if (rule.effect !== 'allow') return unreadable;
  return [write('permit', holds), ...(rule.approval ? unreadable : [])];
}

const toolTest = (pattern: string): string =>
  pattern.endsWith('*') ? `context.tool like ${quote(pattern)}` : `context.tool == ${quote(pattern)}`;

function termOf(rule: PolicyRule, path: string, test: Test): { readable: string; holds: string } {
  const fact = nameOf(path);
  const first = Object.values(test).flat()[0];
  const type = test.domain || test.notDomain ? 'address' : typeof first;
  const value = `context.${fact}.${type}`;
  const tests = Object.entries(test).map(([operator, operand]) => {
    if (path.endsWith('[]')) {
      const list = `[${(operand as unknown[]).map(quote).join(', ')}]`;
      return rule.effect === 'allow' ? `${list}.containsAll(${value})` : `${list}.containsAny(${value})`;
    }
    return expression(operator, operand, value);
  });
  return { readable: `context.${fact} has ${type}`, holds: tests.map((each) => `(${each})`).join(' && ') };
}

const COMPARED: Readonly<Record<string, string>> = {
  eq: '==',
  ne: '!=',
  gt: '>',
  gte: '>=',
  lt: '<',
  lte: '<=',
};

function expression(operator: string, operand: unknown, value: string): string {
  const list = Array.isArray(operand) ? (operand as unknown[]) : [];
  switch (operator) {
    case 'in':
      return `[${list.map(quote).join(', ')}].contains(${value})`;
    case 'notIn':
      return `!([${list.map(quote).join(', ')}].contains(${value}))`;
    case 'startsWith':
      return `${value} like ${quote(`${String(operand)}*`)}`;
    case 'endsWith':
      return `${value} like ${quote(`*${String(operand)}`)}`;
    case 'domain':
      return list.map((domain) => domainTest(String(domain), value)).join(' || ');
    case 'notDomain':
      return `!(${list.map((domain) => domainTest(String(domain), value)).join(' || ')})`;
    default:
      return `${value} ${COMPARED[operator] ?? '??'} ${quote(operand)}`;
  }
}

const domainTest = (domain: string, value: string): string =>
  ['', '*.', '*@'].map((before) => `${value} like ${quote(before + domain)}`).join(' || ');

const quote = (value: unknown): string => JSON.stringify(value);
const nameOf = (path: string): string => path.replaceAll(/[^a-z]/gi, '_');

const PATHS = ['args.a', 'args.b', 'args.deep.c', 'args.to', 'destination.host', 'model', 'time.hour'];
const HOSTS = ['corp.example', 'api.evil.org', 'a', 'ab', 'b'];

function contextOf(facts: PolicyFacts): Record<string, CedarValueJson> {
  const list: unknown = (facts.args as Record<string, unknown>)['list'];
  const words = Array.isArray(list) && list.length > 0 && list.every((item) => typeof item === 'string');
  return {
    tool: facts.tool,
    ...Object.fromEntries(
      PATHS.map((path) => [nameOf(path), typed(JSON.parse(JSON.stringify(facts)), path)]),
    ),
    args_list__: words ? { string: list } : {},
    run_read_personal: { boolean: facts.run.read.length > 0 },
    run_done_crm_read: { boolean: facts.run.done.length > 0 },
    data_personal: { boolean: facts.dataClasses.length > 0 },
  };
}

function typed(facts: unknown, path: string): Record<string, CedarValueJson> {
  const value = path
    .split('.')
    .reduce<unknown>(
      (at, name) =>
        at && typeof at === 'object' && !Array.isArray(at)
          ? (at as Record<string, unknown>)[name]
          : undefined,
      facts,
    );
  if (typeof value === 'number') return { number: value };
  if (typeof value === 'boolean') return { boolean: value };
  if (typeof value !== 'string') return {};
  const address = HOSTS.includes(value) || ADDRESSES.some(([text, good]) => good && text === value);
  return address ? { string: value, address: value } : { string: value };
}
