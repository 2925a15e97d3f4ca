import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { demoApiKeys, graphql, processesOf, startInstallation } from '../support/installation.js';
import type { TestInstallation } from '../support/installation.js';
import { databaseRows, filesBelow, histories, openedHistories } from '../support/installation-surfaces.js';
import { createCanaries } from '../support/canaries.js';
import { createScanner, formsOf, scan, withBytes } from '../support/secret-scan.js';
import type { Hit } from '../support/secret-scan.js';

/** SEC-1 in its first form: after the demo has run, the tools' credentials are in no place but their ciphertext. */
const TENANTS = ['acme', 'globex'] as const;
let installation: TestInstallation;
/** Credentials of the tenants' tools: what agents use and must never see. */
let credentials: Record<string, string>;
/** Everything else that opens something. */
let keys: Record<string, string>;

beforeAll(async () => {
  installation = await startInstallation();
  const read = (...path: string[]): Promise<string> => readFile(join(installation.dataDir, ...path), 'utf8');
  const services = await Promise.all(
    ['helpdesk', 'scripted-model'].map(async (name) => {
      const file = JSON.parse(await read('demo', `${name}.json`)) as { keys: Record<string, string> };
      return Object.entries(file.keys).map(([tenant, key]) => [`${name} of ${tenant}`, key] as const);
    }),
  );
  credentials = Object.fromEntries(services.flat());
  const apiKeys = Object.entries(await demoApiKeys(installation)).flatMap(([tenant, roles]) =>
    Object.entries(roles).map(([role, key]) => [`API key ${tenant} ${role}`, key] as const),
  );
  keys = Object.fromEntries(apiKeys);
  for (const name of ['master.key', 'database-app.password', 'database-control.password']) {
    keys[name] = (await read('keys', name)).trim();
  }
  keys['superuser password'] = (await read('postgres', 'superuser.password')).trim();
}, 120_000);
afterAll(async () => {
  await installation.stop();
});

async function scanFiles(secrets: Record<string, string>, files: readonly string[]): Promise<Hit[]> {
  const scanner = createScanner(secrets);
  return (await Promise.all(files.map((file) => scanner.file(file)))).flat();
}

describe('a secret that leaks', () => {
  it.each(TENANTS)('through the exported Temporal history of a run of %s: none', async (tenant) => {
    const exported = await histories(installation, tenant);
    expect(exported.length).toBeGreaterThan(0);
    const all = { ...credentials, ...keys };
    const hits = exported.flatMap(({ id, bytes, text }) => [...scan(all, id, bytes), ...scan(all, id, text)]);
    expect(hits).toEqual([]);
    // nor for those who may open the payloads
    const opened = await openedHistories(installation, tenant);
    expect(opened).toContain('T-');
    expect(scan(all, 'opened payloads', opened)).toEqual([]);
  });

  it('through any column of any table of any database: none', async () => {
    const scanner = createScanner({ ...credentials, ...keys });
    const hits: Hit[] = [];
    let rows = 0;
    for await (const { table, row } of databaseRows(installation)) {
      rows += 1;
      hits.push(...scanner.scan(table, withBytes(row)));
    }
    expect(rows).toBeGreaterThan(200);
    expect(hits).toEqual([]);
  });

  it('through a log, a remembered fact or another file that processes write: none', async () => {
    const written = [
      ...(await filesBelow(installation, 'logs')),
      ...(await filesBelow(installation, 'temporal', 'logs')),
      ...(await filesBelow(installation, 'host')),
    ];
    expect(written.length).toBeGreaterThan(6);
    expect(await scanFiles({ ...credentials, ...keys }, written)).toEqual([]);
    expect(scan({ ...credentials, ...keys }, 'what npm start printed', installation.output())).toEqual([]);
  });

  it.each(TENANTS)('through an answer of the GraphQL API to %s: none', async (tenant) => {
    const { [tenant]: own } = await demoApiKeys(installation);
    const query = `{
      me { actor role tenant { id name } } tenants { id } agents { id inputSchema } tools { id inputSchema description }
      runs(first: 40) { nodes { id state input result reason { message } journal { kind body hash } } }
      approvals(first: 50) { nodes { id arguments target reason } } }`;
    const text = JSON.stringify(await graphql(installation, own?.admin ?? '', query));
    expect(text).toContain('support-triage');
    expect(scan({ ...credentials, ...keys }, 'GraphQL', text)).toEqual([]);
  });

  it('through the environment or the arguments of a process, which every process of the machine can read: none', async () => {
    const scanner = createScanner({ ...credentials, ...keys });
    const hits: Hit[] = [];
    const processes = await processesOf(installation.dataDir);
    for (const { command, environment } of processes) {
      hits.push(...scanner.scan(command, command));
      hits.push(...scanner.scan(`the environment of ${command}`, environment));
    }
    expect(processes.length).toBeGreaterThan(8);
    expect(hits).toEqual([]);
  });
});

it('a fact that leaks: what the agent of acme remembered is in no file, history or answer of globex', async () => {
  const fact = { ticket: 'T-1001', customer: 'corrected the address' };
  const memory = (tenant: string): Promise<string[]> => filesBelow(installation, 'host', 'mcp', tenant);
  const { acme, globex } = await demoApiKeys(installation);
  const runs = '{ runs(first: 50) { nodes { id result journal { body } } } }';
  const answer = async (key: string | undefined): Promise<string> =>
    JSON.stringify(await graphql(installation, key ?? '', runs));

  // where it belongs it is found, so the search can find it
  expect((await scanFiles(fact, await memory('acme'))).length).toBeGreaterThan(0);
  expect(scan(fact, 'history', await openedHistories(installation, 'acme'))).not.toEqual([]);
  expect(scan(fact, 'GraphQL', await answer(acme?.admin))).not.toEqual([]);

  expect((await memory('globex')).length).toBeGreaterThan(0);
  expect(await scanFiles(fact, await memory('globex'))).toEqual([]);
  expect(scan(fact, 'history', await openedHistories(installation, 'globex'))).toEqual([]);
  expect(scan(fact, 'GraphQL', await answer(globex?.admin))).toEqual([]);
});

describe('the scanner', () => {
  it('finds 50 of 50 planted secrets in each form, at any place, in a stream of pieces and inside a bytea', async () => {
    const canaries = createCanaries();
    for (let planted = 0; planted < 50; planted += 1) canaries.make('acme', 'secret', `place ${planted}`);
    const scanner = createScanner(canaries.byName());
    const secretsOf = (hits: readonly Hit[]): string[] => [...new Set(hits.map(({ secret }) => secret))];
    for (const [planted, { tenant, field, surface, value }] of canaries.made.entries()) {
      const name = `${tenant} ${field} ${surface}`;
      const before = randomBytes(planted % 7);
      for (const [form, text] of formsOf(value)) {
        const content = Buffer.concat([before, Buffer.from(`${text} tail`)]);
        const hits = scanner.scan('here', content);
        expect(secretsOf(hits), form).toEqual([name]);
        expect(hits.map((hit) => hit.form)).toContain(form);
        const pieces = async function* (): AsyncGenerator<Buffer> {
          for (let at = 0; at < content.length; at += 5) yield content.subarray(at, at + 5);
        };
        const streamed = await scanner.stream('here', pieces());
        expect(new Set(streamed), form).toEqual(new Set(hits));
      }
      for (const shift of [0, 1, 2]) {
        const around = Buffer.concat([
          Buffer.from('user:x'.slice(0, 3 + shift)),
          Buffer.from(`${value}:tail`),
        ]);
        expect(secretsOf(scanner.scan('here', around.toString('base64')))).toEqual([name]);
      }
      const nested = JSON.stringify(JSON.stringify(JSON.stringify({ key: value })));
      expect(secretsOf(scanner.scan('here', nested))).toEqual([name]);
      const bytea = `(acme,"\\\\x${Buffer.from(`{"key":"${value}"}`).toString('hex')}")`;
      expect(scanner.scan('here', withBytes(bytea)).map((hit) => hit.form)).toContain('raw');
    }
    expect(scanner.scan('here', randomBytes(1_000_000))).toEqual([]);
  });
});
