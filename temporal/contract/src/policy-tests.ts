import type { PolicyTest } from './policy-document.js';
import type { Scalar } from './policy-facts.js';

/** Operators that CASL compares itself, with the name it gives them. */
export const CASL_OPERATORS = {
  eq: '$eq',
  ne: '$ne',
  in: '$in',
  notIn: '$nin',
  gt: '$gt',
  gte: '$gte',
  lt: '$lt',
  lte: '$lte',
} as const satisfies Partial<Record<keyof PolicyTest, string>>;

type Operator = keyof PolicyTest;

/** Each operator on a fact that is known to be of the operand's type. */
const HOLDS: { readonly [O in Operator]: (fact: Scalar, operand: NonNullable<PolicyTest[O]>) => boolean } = {
  eq: (fact, operand) => fact === operand,
  ne: (fact, operand) => fact !== operand,
  in: (fact, operand) => operand.includes(fact),
  notIn: (fact, operand) => !operand.includes(fact),
  gt: (fact, operand) => fact > operand,
  gte: (fact, operand) => fact >= operand,
  lt: (fact, operand) => fact < operand,
  lte: (fact, operand) => fact <= operand,
  startsWith: (fact, operand) => String(fact).startsWith(operand),
  endsWith: (fact, operand) => String(fact).endsWith(operand),
  domain: (fact, operand) => inDomains(fact, operand),
  notDomain: (fact, operand) => !inDomains(fact, operand),
};

export const operatorsOf = (test: PolicyTest): readonly Operator[] => Object.keys(test) as Operator[];

/** All operands of a test have one type (the schema sees to it). */
export function operandType(test: PolicyTest): string {
  const [first] = Object.values(test).flat();
  return typeof first;
}

/** Whether the test can be answered about this fact at all. */
export function isReadable(test: PolicyTest, fact: Scalar | undefined): fact is Scalar {
  if (typeof fact !== operandType(test)) return false;
  return (test.domain ?? test.notDomain) === undefined || domainOf(String(fact)) !== undefined;
}

/** All given operators hold for a readable fact. */
export const holds = (test: PolicyTest, fact: Scalar): boolean =>
  operatorsOf(test).every((operator) => holdsOne(operator, test, fact));

function holdsOne<O extends Operator>(operator: O, test: PolicyTest, fact: Scalar): boolean {
  const operand = test[operator];
  return operand !== undefined && HOLDS[operator](fact, operand);
}

const HOST = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;
/** Exactly one plain address. Lists, display names, quotes and comments are read differently by different mailers. */
const LOCAL_PART = /^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}$/;

/** The host in `host` or `name@host`; undefined for anything that two readers could read differently. */
function domainOf(text: string): string | undefined {
  if (text.length > 320) return undefined;
  const at = text.indexOf('@');
  if (at !== -1 && !LOCAL_PART.test(text.slice(0, at))) return undefined;
  const host = text
    .slice(at + 1)
    .toLowerCase()
    .replace(/\.$/, '');
  return HOST.test(host) ? host : undefined;
}

function inDomains(fact: Scalar, domains: readonly string[]): boolean {
  const host = domainOf(String(fact));
  return host !== undefined && domains.some((domain) => host === domain || host.endsWith(`.${domain}`));
}
