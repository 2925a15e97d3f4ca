import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Installation } from '../installation.js';
import { graphqlClient } from './graphql.js';
import type { GraphqlClient } from './graphql.js';
import { differences, tellRun, tellSteps } from './story.js';
import type { Expectation } from './story.js';
import { DEMO_TENANTS } from './tenants.js';

export interface DemoOptions {
  readonly dataDir: string;
  readonly log: (line: string) => void;
  readonly say: (line: string) => void;
  readonly json: string | undefined;
}

const RUN_WITHIN_MS = 90_000;
const BOTH: Omit<Expectation, 'approvals'> = {
  state: 'completed',
  succeeded: [
    'helpdesk.ticket.read',
    'memory.search_nodes',
    'model.chat',
    'memory.create_entities',
    'helpdesk.ticket.update',
  ],
  refused: [['webhook.post', 'no-external-destinations']],
};
const EXPECTED: Record<string, Expectation> = {
  acme: { ...BOTH, approvals: 0 },
  globex: { ...BOTH, approvals: 1 },
};

/** Runs one agent per tenant, tells it, prints where to look, and returns whether each run ended as the README says. */
export async function tellDemo(installation: Installation, options: DemoOptions): Promise<boolean> {
  const { say, log } = options;
  const endpoint = `${installation.apiUrl}/graphql`;
  if (installation.modelIsScripted) log('the model is SCRIPTED: set BULKHEAD_MODEL_URL for a real one');
  const stamp = new Date().toISOString();
  const results = await Promise.all(
    DEMO_TENANTS.map(async ({ id, ticketId }) => {
      const keys = installation.apiKeys[id];
      const expected = EXPECTED[id];
      if (!keys || !expected) throw new Error(`no keys for the demo tenant ${id}`);
      const admin = graphqlClient(endpoint, keys.admin);
      const told = await tellRun({
        tenant: id,
        ticketId,
        operator: graphqlClient(endpoint, keys.operator),
        admin,
        say: (line) => log(`${id.padEnd(8)}${line}`),
        timeoutMs: RUN_WITHIN_MS,
        idempotencyKey: `demo-${stamp}`,
      });
      const link = installation.servesTemporalUi ? await signInLink(admin) : undefined;
      return { id, told, problems: differences(told, expected), link };
    }),
  );
  for (const { id, told, link } of results) {
    say(`\n${id}: ${told.run.id} is ${told.run.state}`);
    tellSteps(told.run, say);
    if (told.run.result?.answer) say(`  answer: ${told.run.result.answer}`);
    if (link !== undefined) say(`  Temporal UI, one-time sign-in: ${link}`);
  }
  say(
    `\nGraphiQL: ${installation.apiUrl}/graphiql   keys: ${join(options.dataDir, 'demo', 'api-keys.json')}\n`,
  );
  const problems = results.flatMap((result) => result.problems);
  for (const problem of problems) console.error(`NOT AS DESCRIBED: ${problem}`);
  if (options.json !== undefined) {
    const summary = results.map(({ id, told, problems: own }) => ({ tenant: id, ...told, problems: own }));
    await writeFile(options.json, `${JSON.stringify(summary, null, 2)}\n`);
  }
  return problems.length === 0;
}

/** A link that signs a browser in, once, to the tenant's own namespace in Temporal UI. */
async function signInLink(admin: GraphqlClient): Promise<string> {
  const { createSignInLink } = await admin.request<{ createSignInLink: { url: string } }>(
    'mutation { createSignInLink { url } }',
  );
  return createSignInLink.url;
}
