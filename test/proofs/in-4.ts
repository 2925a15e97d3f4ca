import { performance } from 'node:perf_hooks';
import { compilePolicy, parsePolicy } from '@bulkhead/contract/policy';
import type { OpenCall, PolicyDocument, PolicyFacts, PolicyVerdict, Reach } from '@bulkhead/contract/policy';
import { publishPolicy, currentPolicy } from '@bulkhead/policy/admin';
import { openLine } from '../support/line.js';
import { cedarDecides, loadCedar } from '../support/policy/cedar.js';
import { someCall, someDocument } from '../support/policy/corpus.js';
import { hostileDocuments } from '../support/policy/hostile.js';
import { referenceVerdict } from '../support/policy/reference.js';
import { seededRandom } from '../support/random.js';
import type { Random } from '../support/random.js';
import { zeroOf } from './proof.js';
import type { Proof, ProofSize } from './proof.js';

interface Counts {
  readonly documents: number;
  readonly callsEach: number;
  readonly cedarDocuments: number;
  readonly cedarCallsEach: number;
}
const COUNTS: Record<ProofSize, Counts> = {
  tiny: { documents: 100, callsEach: 10, cedarDocuments: 20, cedarCallsEach: 10 },
  ci: { documents: 4_000, callsEach: 25, cedarDocuments: 1_000, cedarCallsEach: 100 },
  full: { documents: 50_000, callsEach: 20, cedarDocuments: 3_000, cedarCallsEach: 100 },
};
/** Hostile documents that are published for real, too; the rest are only read. */
const PUBLISHED_MAX = 60;
/** A document that takes longer to refuse could hold up the process that reads it. */
const REFUSAL_MS_MAX = 500;

/**
 * Documents: every hostile one is refused, and leaves the version before in force. Verdicts: ours, one written down a
 * second time without CASL, and those of Cedar, agree on random calls; a deny always wins.
 */
export const run: Proof = async ({ size, progress }) => {
  const random = seededRandom();
  const faults: string[] = [];
  const { documents, callsEach, cedarDocuments, cedarCallsEach } = COUNTS[size];
  progress(`seed ${random.seed}`);
  const refused = await refuseHostile(size, faults);
  progress(`${refused} hostile documents refused, the version before stayed in force`);
  let requests = 0;
  for (let i = 0; i < documents && faults.length < 10; i += 1) {
    requests += againstReference(random, callsEach, faults);
  }
  progress(`${documents} documents, ${requests} calls compared with the reference`);
  let compared = 0;
  for (let i = 0; i < cedarDocuments && faults.length < 10; i += 1) {
    compared += againstCedar(random, cedarCallsEach, `d${i % 10}`, faults);
  }
  progress(`${compared} calls of ${cedarDocuments} documents compared with Cedar`);
  return zeroOf('disagreements or hostile documents accepted', refused + requests + compared, faults);
};

function compile(document: PolicyDocument) {
  const parsed = parsePolicy(document);
  if (parsed.kind === 'invalid') throw new Error(`the corpus is wrong: ${JSON.stringify(parsed.problems)}`);
  return compilePolicy(parsed.document);
}

function againstReference(random: Random, calls: number, faults: string[]): number {
  const document = someDocument(random, { portable: false });
  const policy = compile(document);
  for (let i = 0; i < calls; i += 1) {
    const facts = someCall(random);
    const [ours, theirs] = [policy.evaluate(facts), referenceVerdict(document, facts)];
    if (text(ours) !== text(theirs)) faults.push(report(document, facts, ours, theirs));
    const reach = policy.reach(openCall(random, facts));
    if (contradicts(reach, ours)) faults.push(report(document, facts, ours, reach));
  }
  return calls;
}

/** What is known of the tool of a call before the call: some of its arguments' names, and where it goes. */
function openCall(random: Random, { args, destination, ...facts }: PolicyFacts): OpenCall {
  const { host } = destination;
  const names = Object.keys(args as object);
  return {
    ...facts,
    argumentNames: random.pick([{}, { names }, { names: [...names, 'a', 'b'] }] as { names?: string[] }[])
      .names,
    destination: random.pick<() => OpenCall['destination']>([
      () => undefined,
      () => ({ host, path: undefined }),
      () => ({ host, path: '/' }),
    ])(),
  };
}

/** A tool that some call may use is never `never`, and one of which some call is denied is never `always`. */
function contradicts({ allowed, asks }: Reach, verdict: PolicyVerdict): boolean {
  if (verdict.kind === 'deny') return allowed === 'always';
  return allowed === 'never' || asks === (verdict.approval ? 'never' : 'always');
}

function againstCedar(random: Random, calls: number, name: string, faults: string[]): number {
  const document = someDocument(random, { portable: true });
  const policy = compile(document);
  loadCedar(name, document);
  for (let i = 0; i < calls; i += 1) {
    const facts = someCall(random);
    const [ours, theirs] = [policy.evaluate(facts), cedarDecides(name, facts)];
    if (ours.kind !== theirs) faults.push(report(document, facts, ours, `Cedar: ${theirs}`));
  }
  return calls;
}

/** Without the message, which is for people. */
function text(verdict: unknown): string {
  const { kind, rule, approval, limits } = verdict as PolicyVerdict & {
    approval?: unknown;
    limits?: unknown;
  };
  return JSON.stringify([kind, rule, approval, limits]);
}

const report = (document: PolicyDocument, facts: PolicyFacts, ours: PolicyVerdict, theirs: unknown): string =>
  JSON.stringify({ document, args: facts.args, tool: facts.tool, ours, theirs });

async function refuseHostile(size: ProofSize, faults: string[]): Promise<number> {
  const line = await openLine();
  try {
    const db = line.db('acme');
    const before = await currentPolicy(db, 'default');
    const documents = hostileDocuments({ tiny: 40, ci: 600, full: 20_000 }[size]);
    for (const [i, { why, document }] of documents.entries()) {
      const began = performance.now();
      if (parsePolicy(document).kind !== 'invalid') faults.push(`accepted: ${why}`);
      if (performance.now() - began > REFUSAL_MS_MAX) faults.push(`took too long to refuse: ${why}`);
      if (i >= PUBLISHED_MAX) continue;
      const publication = { profile: 'default', document: document as never, publishedBy: 'x', reason: 'x' };
      const published = await publishPolicy(db, publication).then(
        () => true,
        () => false,
      );
      if (published) faults.push(`published: ${why}`);
    }
    const after = await currentPolicy(db, 'default');
    if (JSON.stringify(before) !== JSON.stringify(after)) faults.push('the version in force has changed');
    return documents.length;
  } finally {
    await line.close();
  }
}
