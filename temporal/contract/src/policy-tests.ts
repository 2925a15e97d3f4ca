import type { PolicyTest } from './policy-document.js';
import type { Scalar } from './policy-facts.js';

/** Operators that CASL compares itself, with the name it gives them. */
const CASL_OPERATORS = {
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

/** A test, ready to be asked. */
export interface CompiledTest {
  /** Whether it can be answered about this fact at all. */
  readable(fact: unknown): fact is Scalar;
  /** Whether all its operators hold for a readable fact. */
  holds(fact: Scalar): boolean;
  /** The same in CASL's operators; undefined: CASL has none for some of them. */
  readonly query: Readonly<Record<string, unknown>> | undefined;
}

export function compileTest(test: PolicyTest): CompiledTest {
  // all operands of a test have one type (the schema sees to it)
  const type = typeof Object.values(test).flat()[0];
  const operators = Object.keys(test) as Operator[];
  const isDomain = test.domain !== undefined || test.notDomain !== undefined;
  const plain = operators.every((operator) => Object.hasOwn(CASL_OPERATORS, operator));
  return {
    readable: (fact): fact is Scalar =>
      typeof fact === type && (!isDomain || domainOf(String(fact)) !== undefined),
    holds: (fact) => operators.every((operator) => holdsOne(operator, test, fact)),
    query: plain
      ? Object.fromEntries(
          operators.map((operator) => [
            CASL_OPERATORS[operator as keyof typeof CASL_OPERATORS],
            test[operator],
          ]),
        )
      : undefined,
  };
}

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
