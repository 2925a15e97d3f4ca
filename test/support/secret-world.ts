import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Json } from '@bulkhead/contract';
import { demoTools } from '../../tools/src/demo/tenants.js';
import { createCanaries } from './canaries.js';
import type { Canaries } from './canaries.js';
import { dataFolder, demoApiKeys, startInstallation } from './installation.js';
import type { TestInstallation } from './installation.js';

/** How a run that uses its secrets goes. */
export const ENDINGS = ['succeeds', 'fails', 'times-out', 'retries', 'is-reset', 'is-terminated'] as const;
export type Ending = (typeof ENDINGS)[number];

/**
 * A whole installation whose tools and model are one server of ours. That server takes any credential, and tells it again
 * wherever it can: in what it answers, in headers, in errors.
 */
export interface SecretWorld {
  readonly installation: TestInstallation;
  readonly canaries: Canaries;
  /** What the model was asked, without the credential that is meant for it. */
  readonly asked: string[];
  /** What the API answered, errors included. */
  readonly answers: string[];
  /** Credentials that arrived. */
  readonly arrived: ReadonlySet<string>;
  /** One run of acme that uses two secrets which nobody has used before. */
  run(ending: Ending): Promise<void>;
  /** Asks the API for everything that it shows, and makes it refuse secrets in every way that it knows. */
  askEverything(): Promise<void>;
  close(): Promise<void>;
}

const TERMINAL = ['completed', 'failed', 'cancelled'];
/** A busy machine may take long for a run; the reset runs it twice. */
const RUN_MS_MAX = 60_000;

export async function openSecretWorld(): Promise<SecretWorld> {
  const canaries = createCanaries();
  const server = await startTellingServer();
  const dataDir = await dataFolder();
  await writeFile(join(dataDir, 'egress.json'), JSON.stringify([server.host]));
  const installation = await startInstallation({ dataDir });
  const admin = (await demoApiKeys(installation))['acme']?.admin ?? '';
  const answers: string[] = [];

  const ask = async (query: string, variables: object = {}): Promise<Record<string, never>> => {
    const response = await fetch(`${installation.apiUrl}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${admin}` },
      body: JSON.stringify({ query, variables }),
    });
    const text = await response.text();
    answers.push(text);
    return ((JSON.parse(text) as { data?: Record<string, never> | null }).data ?? {}) as Record<
      string,
      never
    >;
  };
  const rotate = (name: string, value: string): Promise<unknown> =>
    ask(ROTATE, { name, value, hosts: [server.host] });
  for (const [id, spec] of Object.entries(toolsAt(server.host)))
    await ask(
      'mutation ($id: ID!, $spec: JSON!) { updateTool(id: $id, spec: $spec, reason: "ours") { id } }',
      {
        id,
        spec,
      },
    );

  let runs = 0;
  return {
    installation,
    canaries,
    asked: server.asked,
    answers,
    arrived: server.arrived,
    async run(ending) {
      runs += 1;
      const surface = `run ${runs}, ${ending}`;
      for (const name of ['helpdesk', 'model']) await rotate(name, canaries.make('acme', name, surface));
      const ticketId = `${ending}-${runs}`;
      const started = (await ask(START, { key: randomUUID(), input: { ticketId } }))['startRun'] as
        { readonly id: string } | undefined;
      if (!started) throw new Error(`no run was started: ${answers.at(-1)}`);
      await see(ending, started.id, ticketId, { ask, server });
    },
    async askEverything() {
      await refusedSecrets(ask, canaries);
      for (const query of EVERYTHING) await ask(query);
    },
    async close() {
      await installation.stop();
      await server.close();
    },
  };
}

type Ask = (query: string, variables?: object) => Promise<Record<string, never>>;
interface RunState {
  readonly state: string;
  readonly requests: readonly { readonly doneAt: string | null }[];
}

async function see(
  ending: Ending,
  id: string,
  ticketId: string,
  { ask, server }: { readonly ask: Ask; readonly server: TellingServer },
): Promise<void> {
  const until = async (what: string, done: (run: RunState) => boolean): Promise<void> => {
    for (const began = performance.now(); ; await sleep(100)) {
      const run = (await ask('query ($id: ID!) { run(id: $id) { state requests { doneAt } } }', { id }))[
        'run'
      ] as RunState | undefined;
      if (run && done(run)) return;
      if (performance.now() - began > RUN_MS_MAX)
        throw new Error(`${ticketId} is not ${what}: ${JSON.stringify(run)}`);
    }
  };
  const ended = (run: RunState): boolean => TERMINAL.includes(run.state);
  if (ending === 'is-terminated') {
    await server.hangs(ticketId);
    await ask('mutation ($id: ID!) { terminateRun(id: $id, reason: "a drill") { id } }', { id });
  }
  await until('over', ended);
  if (ending !== 'is-reset') return;
  await ask('mutation ($id: ID!) { resetRun(id: $id, reason: "again", to: first) { id } }', { id });
  await until('run again', (run) => ended(run) && run.requests.every(({ doneAt }) => doneAt !== null));
}

/** Values that are refused, each in its own way; none may be told back or written down. */
async function refusedSecrets(ask: Ask, canaries: Canaries): Promise<void> {
  const value = (how: string): string => canaries.make('acme', 'refused', how);
  const create = (name: string, given: unknown): Promise<unknown> => ask(CREATE, { name, value: given });
  await create('spaces', `${value('with a space')} `);
  await create('Not A Name', value('under no name'));
  await create('object', { inner: value('in an object') });
  await create('list', [value('in a list')]);
  await create('helpdesk', value('under a name that is taken'));
  await ask(ROTATE, { name: 'nobody', value: value('for nobody'), hosts: [] });
  await ask(ROTATE, { name: 'helpdesk', value: value('for no host'), hosts: ['not a host'] });
  const literal = JSON.stringify(value('in the document'));
  await ask(
    `mutation { createSecret(name: "x", access: read, boundHosts: ["a.example"], reason: "x", value: ${literal}) { name } }`,
  );
  await ask(`query { run(id: ${JSON.stringify(value('as an id'))}) { id } }`);
}

const ROTATE = `mutation ($name: ID!, $value: SecretValue!, $hosts: [String!]!) {
  rotateSecret(name: $name, value: $value, boundHosts: $hosts, reason: "a new one") { version } }`;
const CREATE = `mutation ($name: ID!, $value: SecretValue!) {
  createSecret(name: $name, value: $value, access: mutate, boundHosts: ["a.example"], reason: "a new one") { name } }`;
const START = `mutation ($key: String!, $input: JSON!) {
  startRun(input: { agentId: "support-triage", idempotencyKey: $key, input: $input }) { id } }`;
const EVERYTHING = [
  `{ me { actor role } agents { id inputSchema } tools { id inputSchema description }
     secrets { name purpose boundHosts version state } }`,
  `{ runs(first: 50) { nodes { id state input result reason { message } journal { kind body hash } } } }`,
  `{ approvals(first: 50) { nodes { id arguments target reason } } }`,
  `{ audit(first: 50) { nodes { kind body } } policies { document reason } controlStates { id reason } }`,
];

function toolsAt(host: string): Record<string, Json> {
  const tools = demoTools({
    helpdesk: `http://${host}`,
    model: `http://${host}/v1`,
    modelName: 'telling',
  }) as Record<string, Record<string, Json>>;
  const names = ['helpdesk.ticket.read', 'helpdesk.ticket.update', 'model.chat'];
  return Object.fromEntries(
    names.map((id) => [
      id,
      id === 'helpdesk.ticket.update'
        ? { ...tools[id], effect: 'irreversible', idempotency: 'none', timeoutMs: 1_500 }
        : { ...tools[id] },
    ]),
  );
}

interface TellingServer {
  readonly host: string;
  readonly asked: string[];
  readonly arrived: ReadonlySet<string>;
  /** Returns when a change of that ticket hangs. */
  hangs(ticketId: string): Promise<void>;
  close(): Promise<void>;
}

async function startTellingServer(): Promise<TellingServer> {
  const asked: string[] = [];
  const arrived = new Set<string>();
  const hanging = new Set<string>();
  const dropped = new Set<string>();
  const answer = (request: IncomingMessage, response: ServerResponse, body: string): void => {
    const credential = (request.headers.authorization ?? '').replace(/^Bearer /, '');
    arrived.add(credential);
    const ticketId = decodeURIComponent(request.url?.split('/').at(-1) ?? '');
    const tell = (status: number, value: object): void => {
      response
        .writeHead(status, { 'content-type': 'application/json', 'x-told': encodeURIComponent(credential) })
        .end(JSON.stringify(value));
    };
    if (request.url?.startsWith('/v1/')) {
      asked.push(body, JSON.stringify({ ...request.headers, authorization: undefined }));
      return tell(
        200,
        completion(`You sent ${credential}, in base64 ${Buffer.from(credential).toString('base64')}`),
      );
    }
    if (request.method === 'PATCH' && /^(times-out|is-terminated)-/.test(ticketId)) {
      hanging.add(ticketId);
      return;
    }
    if (ticketId.startsWith('retries-') && !dropped.has(ticketId)) {
      dropped.add(ticketId);
      request.socket.destroy();
      return;
    }
    if (request.method === 'PATCH' && ticketId.startsWith('fails-'))
      return tell(500, { error: `the key ${credential} is not good` });
    tell(200, {
      id: ticketId,
      subject: `about ${credential}`,
      body: JSON.stringify({ credential }),
      status: 'open',
    });
  };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => answer(request, response, Buffer.concat(chunks).toString()));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    arrived,
    async hangs(ticketId) {
      for (const began = performance.now(); !hanging.has(ticketId); await sleep(50))
        if (performance.now() - began > RUN_MS_MAX) throw new Error(`${ticketId} was never changed`);
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const completion = (content: string): object => ({
  model: 'telling',
  choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content } }],
  usage: { prompt_tokens: 1, completion_tokens: 1 },
});
