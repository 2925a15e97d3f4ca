import { canonicalJson } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import { parsePolicy, SETTING_PATHS, settingsOf } from '@bulkhead/contract/policy';
import type { PolicyDocument, PolicyRule } from '@bulkhead/contract/policy';

export interface RuleChange {
  readonly id: string;
  /** undefined: the rule is new. */
  readonly before: Json | undefined;
  /** undefined: the rule is gone. */
  readonly after: Json | undefined;
}

export interface SettingChange {
  /** Where the document has it, e.g. `audit.arguments`. */
  readonly name: string;
  /** What holds, also where a document leaves it out; null: without an end. */
  readonly before: Json;
  readonly after: Json;
}

export interface PolicyDiff {
  readonly modeBefore: string;
  readonly modeAfter: string;
  /** By id. Where a rule stands in its document means nothing, so it is no change. */
  readonly rules: readonly RuleChange[];
  readonly settings: readonly SettingChange[];
}

/** What another document changes. One that cannot be read here counts as one without rules. */
export function diffPolicies(before: Json, after: Json): PolicyDiff {
  const [from, to] = [read(before), read(after)];
  const [old, fresh] = [byId(from), byId(to)];
  const ids = [...new Set([...old.keys(), ...fresh.keys()])].sort();
  const rules = ids
    .map((id): RuleChange => ({ id, before: old.get(id), after: fresh.get(id) }))
    .filter((change) => text(change.before) !== text(change.after));
  const settings = changedSettings(from, to);
  return { modeBefore: from.mode ?? 'enforce', modeAfter: to.mode ?? 'enforce', rules, settings };
}

function changedSettings(from: PolicyDocument, to: PolicyDocument): SettingChange[] {
  const [old, fresh] = [settingsOf(from), settingsOf(to)];
  return Object.entries(SETTING_PATHS)
    .map(([key, name]) => {
      const setting = key as keyof typeof SETTING_PATHS;
      return { name, before: old[setting] ?? null, after: fresh[setting] ?? null };
    })
    .filter(({ before, after }) => before !== after);
}

function read(document: Json): PolicyDocument {
  const parsed = parsePolicy(document);
  return parsed.kind === 'document' ? parsed.document : { rules: [] };
}

const byId = ({ rules }: PolicyDocument): ReadonlyMap<string, Json> =>
  new Map(rules.map((rule: PolicyRule) => [rule.id, rule as unknown as Json]));

const text = (rule: Json | undefined): string => (rule === undefined ? '' : canonicalJson(rule));
