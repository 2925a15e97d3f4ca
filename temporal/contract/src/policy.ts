import { BoundedMap } from './bounded-map.js';
import { subject } from '@casl/ability';
import { compileTool } from './policy-compile.js';
import type { CallSubject, ToolRules } from './policy-compile.js';
import { DEFAULT_DENY, OBSERVE_ONLY, READ_ONLY } from './policy-document.js';
import type {
  PolicyApproval,
  PolicyDocument,
  PolicyLimit,
  PolicyMode,
  PolicyRule,
} from './policy-document.js';
import type { PolicyFacts } from './policy-facts.js';
import { reachOf } from './policy-reach.js';
import { settingsOf } from './policy-settings.js';
import type { PolicySettings } from './policy-settings.js';
import type { OpenCall, Reach } from './policy-reach.js';

export {
  DEFAULT_DENY,
  OBSERVE_ONLY,
  POLICY_MODES,
  PolicyDocumentSchema,
  READ_ONLY,
  RULES_MAX,
} from './policy-document.js';
export type {
  PolicyApproval,
  PolicyDocument,
  PolicyLimit,
  PolicyMode,
  PolicyRule,
} from './policy-document.js';
export { DOCUMENT_CHARS_MAX, parsePolicy } from './policy-parse.js';
export type { ParsedPolicy, PolicyProblem } from './policy-parse.js';
export { KEEPING, READS, readSettings, SETTING_PATHS, settingsOf } from './policy-settings.js';
export type { PolicySettings } from './policy-settings.js';
export { NOTHING_YET, timeFacts } from './policy-facts.js';
export type { CallFacts, PolicyFacts, RunFacts, TimeFacts } from './policy-facts.js';
export { NEVER } from './policy-reach.js';
export type { OpenCall, Reach } from './policy-reach.js';

/** What a call takes from a limit rule; admit takes it, or refuses the call. */
export interface PolicyReservation {
  readonly rule: string;
  readonly of: PolicyLimit['of'];
  readonly per: PolicyLimit['per'];
  readonly max: number;
  /** 1 for a count, else the argument. */
  readonly amount: number;
}

export type PolicyVerdict = PolicyAllow | PolicyDeny;
export interface PolicyAllow {
  readonly kind: 'allow';
  readonly rule: string;
  readonly approval?: PolicyApproval;
  /** In the order in which admit takes them, the same for every call, so that two calls never wait for each other. */
  readonly limits?: readonly PolicyReservation[];
  /** In observe mode: what would have stopped the call. */
  readonly observed?: { readonly rule: string; readonly message: string };
}
interface PolicyDeny {
  readonly kind: 'deny';
  readonly rule: string;
  readonly message: string;
}

/** One rule that names the tool, and what it had to say. */
export interface RuleOpinion {
  readonly id: string;
  readonly effect: PolicyRule['effect'];
  /** unreadable: a fact that it names is missing or of another type. */
  readonly applies: 'yes' | 'no' | 'unreadable';
}

export interface CompiledPolicy {
  readonly mode: PolicyMode;
  readonly settings: PolicySettings;
  evaluate(facts: PolicyFacts): PolicyVerdict;
  /** Every rule that names the tool, for a person who asks why. */
  opinions(facts: PolicyFacts): readonly RuleOpinion[];
  /** What it would say to the calls of a tool, whatever they are: for the list of what an agent may call. */
  reach(call: OpenCall): Reach;
  /** What the rules of this tool want to know of the run's past; undefined: nothing. */
  asksRun(tool: string): ToolRules['asksRun'];
}

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
  const tools = new BoundedMap<string, ToolRules>(TOOLS_MAX);
  const mode = document.mode ?? 'enforce';
  const rulesOf = (tool: string): ToolRules => {
    const known = tools.get(tool);
    if (known) return known;
    const rules = compileTool(document.rules.filter((rule) => covers(rule, tool)));
    tools.set(tool, rules);
    return rules;
  };
  return {
    mode,
    settings: settingsOf(document),
    evaluate(facts) {
      if (mode === 'read-only' && facts.effect !== 'read') {
        return { kind: 'deny', rule: READ_ONLY, message: 'The policy is read-only: nothing may be changed.' };
      }
      const verdict = verdictOf(rulesOf(facts.tool), facts);
      return mode === 'observe' ? observed(verdict) : verdict;
    },
    opinions: (facts) => opinionsOf(rulesOf(facts.tool), facts),
    reach: (call) => reachOf(rulesOf(call.tool), mode, call),
    asksRun: (tool) => rulesOf(tool).asksRun,
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

function verdictOf(rules: ToolRules, facts: PolicyFacts): PolicyVerdict {
  const columns = rules.columns(facts);
  // only a subject instance is ever asked about: by type name alone, CASL ignores conditions
  const call = subject('Call', columns) as CallSubject;
  const decisive = rules.ability.relevantRuleFor('call', call);
  if (!decisive) {
    return { kind: 'deny', rule: DEFAULT_DENY, message: `No rule allows ${facts.tool}.` };
  }
  const blind = call['blind'] === true;
  const { rule } = ruleOf(rules, blind ? String(call['blindRule']) : decisive.reason);
  if (decisive.inverted) return deny(rule, !blind);
  const asks = rules.asks
    ? [...matching(rules, 'call', call), ...matching(rules, 'ask', call)].filter((each) => each.approval)
    : [];
  const limits = rules.limits ? reservations(rules, call, facts) : [];
  if ('kind' in limits) return limits;
  const allowed = asks.length === 0 ? ({ kind: 'allow', rule: rule.id } as const) : allowWithApproval(asks);
  return allowed.kind === 'deny' || limits.length === 0 ? allowed : { ...allowed, limits };
}

/** The rules of a kind that hold, apart from denials. */
function matching(rules: ToolRules, action: 'call' | 'ask' | 'limit', call: CallSubject): PolicyRule[] {
  return rules.ability
    .rulesFor(action, 'Call')
    .filter((rule) => !rule.inverted && rule.matchesConditions(call))
    .map((rule) => ruleOf(rules, rule.reason).rule);
}

function deny(rule: PolicyRule, factsWereReadable: boolean): PolicyDeny {
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

const SCOPES = ['tenant', 'workspace', 'agent', 'run'] as const satisfies readonly PolicyLimit['of'][];

function reservations(
  rules: ToolRules,
  call: CallSubject,
  facts: PolicyFacts,
): PolicyReservation[] | PolicyDeny {
  const taken: PolicyReservation[] = [];
  for (const rule of matching(rules, 'limit', call)) {
    const { sum } = ruleOf(rules, rule.id);
    const amount = sum ? sum.read(facts) : 1;
    // a negative amount would give back what others have used
    if (!rule.limit || typeof amount !== 'number' || amount < 0) return deny(rule, false);
    const { of, per, max } = rule.limit;
    taken.push({ rule: rule.id, of, per, max, amount });
  }
  return taken.sort((a, b) => SCOPES.indexOf(a.of) - SCOPES.indexOf(b.of) || (a.rule < b.rule ? -1 : 1));
}

/** Nothing is refused, nobody is asked and nothing is counted; what would have been goes into the journal. */
function observed(verdict: PolicyVerdict): PolicyVerdict {
  const kept = { kind: 'allow', rule: OBSERVE_ONLY } as const;
  if (verdict.kind === 'deny') return { ...kept, observed: { rule: verdict.rule, message: verdict.message } };
  if (!verdict.approval) return { kind: 'allow', rule: verdict.rule };
  return { ...kept, observed: { rule: verdict.rule, message: 'A person would have been asked to approve.' } };
}

function opinionsOf(rules: ToolRules, facts: PolicyFacts): RuleOpinion[] {
  const call = subject('Call', rules.columns(facts)) as CallSubject;
  const holding = new Set(
    (['call', 'ask', 'limit'] as const).flatMap((action) =>
      rules.ability
        .rulesFor(action, 'Call')
        .filter((rule) => rule.matchesConditions(call))
        .map((rule) => rule.reason),
    ),
  );
  return [...rules.byId.values()]
    .map((each): RuleOpinion => {
      const { id, effect } = each.rule;
      const applies = rules.isReadable(each, call) ? (holding.has(id) ? 'yes' : 'no') : 'unreadable';
      return { id, effect, applies };
    })
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

function ruleOf(rules: ToolRules, id: string | undefined) {
  const rule = id === undefined ? undefined : rules.byId.get(id);
  if (!rule) throw new Error('a compiled rule has lost its origin');
  return rule;
}
