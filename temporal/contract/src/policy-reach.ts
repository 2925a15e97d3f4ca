import type { CompiledRule, ToolRules } from './policy-compile.js';
import type { PolicyMode } from './policy-document.js';
import { NOTHING_YET, timeFacts } from './policy-facts.js';
import type { PolicyFacts } from './policy-facts.js';
import type { RunId } from './ids.js';

/** What is known of the calls of a tool before there is one. */
export interface OpenCall extends Pick<
  PolicyFacts,
  'tool' | 'system' | 'effect' | 'dataClasses' | 'agent' | 'workspace' | 'model'
> {
  /** undefined: an argument is the destination. A `path` that is undefined depends on arguments. */
  readonly destination:
    { readonly host: string; readonly port?: number; readonly path: string | undefined } | undefined;
  /** Arguments that a call may have: any other is refused before policy is asked. undefined: it may have any. */
  readonly argumentNames: readonly string[] | undefined;
}

/** What a policy says to the calls of a tool, whatever their arguments, their time and their run will be. */
export interface Reach {
  /** never: each call is denied. always: none is. sometimes: it depends on the call. */
  readonly allowed: 'always' | 'sometimes' | 'never';
  /** Whether a person has to agree to those that are not denied. */
  readonly asks: 'always' | 'sometimes' | 'never';
}

/**
 * maybe: it depends on what is not known yet. blind: a fact that the rule names is not there, whatever the call is.
 * doubt: it does not hold, and may still deny a call in which it cannot read a fact.
 */
type Answer = 'yes' | 'no' | 'maybe' | 'blind' | 'doubt';

/** Of a policy that is not there or cannot be read. */
export const NEVER: Reach = { allowed: 'never', asks: 'never' };

/**
 * The same rules and tests as a verdict, on the facts that are known. It errs to one side only: a tool that some call may
 * use is never `never`, and one of which some call is denied is never `always`.
 */
export function reachOf(rules: ToolRules, mode: PolicyMode, call: OpenCall): Reach {
  if (mode === 'read-only' && call.effect !== 'read') return NEVER;
  if (mode === 'observe') return { allowed: 'always', asks: 'never' };
  const facts = knownFacts(call);
  const all = [...rules.byId.values()].map((each) => ({ ...each, answer: answerOf(each, facts, call) }));
  const allows = all.filter(({ rule, answer }) => rule.effect === 'allow' && isPossible(answer));
  const denied = all.some(
    ({ rule, restricts, answer }) =>
      (restricts && answer === 'blind') || (rule.effect === 'deny' && answer === 'yes'),
  );
  if (denied || allows.length === 0) return NEVER;
  const asking = all.filter(({ rule, answer }) => rule.approval !== undefined && isPossible(answer));
  const certain = asking.filter(({ answer }) => answer === 'yes');
  // each asks for somebody of its own: nobody can satisfy them all
  if (certain.length > 0 && !haveCommonApprover(certain)) return NEVER;
  const open =
    !allows.some(({ answer }) => answer === 'yes') ||
    all.some(({ restricts, answer }) => restricts && (answer === 'maybe' || answer === 'doubt')) ||
    (asking.length > certain.length && !haveCommonApprover(asking));
  return {
    allowed: open ? 'sometimes' : 'always',
    asks: certain.length > 0 ? 'always' : asking.length > 0 ? 'sometimes' : 'never',
  };
}

const isPossible = (answer: Answer): boolean => answer === 'yes' || answer === 'maybe';

const haveCommonApprover = (rules: readonly Pick<CompiledRule, 'rule'>[]): boolean =>
  (rules[0]?.rule.approval?.approvers ?? []).some((role) =>
    rules.every(({ rule }) => rule.approval?.approvers.includes(role)),
  );

function answerOf({ rule, terms, sum, restricts }: CompiledRule, facts: PolicyFacts, call: OpenCall): Answer {
  const answers = terms.map(({ path, reader, test }): Answer => {
    if (isOpen(path, call)) return 'maybe';
    const fact = reader.read(facts);
    // a list is always an argument, and one that is known is not there
    if (reader.each || !test.readable(fact)) return 'blind';
    return test.holds(fact) ? 'yes' : 'no';
  });
  // what a rule cannot read comes first: a rule that restricts denies by it, one that allows does not hold
  if (answers.includes('blind')) return 'blind';
  const maybe = answers.includes('maybe');
  if (answers.includes('no')) return maybe && restricts ? 'doubt' : 'no';
  if (maybe) return 'maybe';
  if (!sum || rule.limit?.sum === undefined) return 'yes';
  // the argument that is added up has to be a number when the rule holds
  return isOpen(rule.limit.sum, call) ? 'maybe' : 'blind';
}

/** Whether the fact depends on the call: its arguments, its run, who started that, and when. */
function isOpen(path: string, { destination, argumentNames }: OpenCall): boolean {
  const [root = '', second = ''] = path.split('.');
  if (root === 'args') return argumentNames?.includes(second.replace(/\[\]$/, '')) ?? true;
  if (root === 'destination') return !destination || (second === 'path' && destination.path === undefined);
  return root === 'time' || root === 'run' || root === 'actor';
}

/** Stand-ins for what is open are never read: `isOpen` is asked first. */
function knownFacts(call: OpenCall): PolicyFacts {
  const { host = '', port, path = '' } = call.destination ?? {};
  return {
    ...call,
    destination: { host, path, ...(port === undefined ? {} : { port }) },
    args: {},
    actor: '',
    runId: '' as RunId,
    time: timeFacts(new Date(0)),
    run: NOTHING_YET,
  };
}
