import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { personId, revokeApiKey } from '@bulkhead/tenancy/admin';
import { ACME, AGENT, field, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';
import { startIssuer } from '../support/issuer.js';
import type { TestIssuer } from '../support/issuer.js';

const WATCH = 'subscription ($id: ID!) { runChanged(id: $id) { id state } }';
const RUN = 'query ($id: ID!) { run(id: $id) { id } }';
/** Milliseconds until a stream of somebody who may not watch any more has ended. */
const END_MS_MAX = 1_000;

/** Nothing happens to the run meanwhile: the stream is quiet, so only the change itself can end it. */
describe('a quiet stream of a person', () => {
  let issuer: TestIssuer;
  let api: TestApi;
  let id: string;
  let people = 0;

  beforeAll(async () => {
    issuer = await startIssuer();
    api = await startApi({ issuers: [issuer.config] });
    const started = await api.ask(
      await api.key(ACME, 'operator'),
      'mutation ($input: StartRunInput!) { startRun(input: $input) { id } }',
      { input: { agentId: AGENT, idempotencyKey: 'x', input: { ticketId: 'T-1' } } },
    );
    id = field<{ id: string }>(started, 'startRun').id;
  });
  afterAll(async () => {
    await api?.close();
    await issuer?.close();
  });

  const sql = (text: string, values: unknown[] = []): Promise<unknown> => api.database.asOwner(text, values);
  const join = async (): Promise<{ subject: string; person: string }> => {
    people += 1;
    const subject = `person-${people}`;
    const person = personId(issuer.config.issuer, subject);
    await sql(
      `INSERT INTO members (tenant_id, id, issuer, subject, role, created_by) VALUES ('acme', $1, $2, $3, 'viewer', 'test')`,
      [person, issuer.config.issuer, subject],
    );
    return { subject, person };
  };
  /** Opens the stream, makes the change, and says how many milliseconds later the stream had ended. */
  const endsAfter = async (proof: string, change: () => Promise<unknown>): Promise<number> => {
    const events = api.subscribe(proof, WATCH, { id });
    expect((await events.next()).done).toBe(false);
    await change();
    const changed = performance.now();
    const ended = await events.next().then(
      ({ done }) => done,
      () => true,
    );
    expect(ended).toBe(true);
    return performance.now() - changed;
  };

  it.each([
    ['is removed', 'UPDATE members SET removed_at = now() WHERE id = $1'],
    ['gets a role that we do not know', "UPDATE members SET role = 'nobody' WHERE id = $1"],
    ['is moved to another workspace', "UPDATE members SET workspace_id = 'elsewhere' WHERE id = $1"],
  ])(
    'ends within a second when the person %s, and their next operation is refused',
    async (_what, change) => {
      const { subject, person } = await join();
      const token = await issuer.token(subject);
      expect(await endsAfter(token, () => sql(change, [person]))).toBeLessThan(END_MS_MAX);
      expect((await api.ask(token, RUN, { id })).data).toBeNull();
    },
  );

  it('ends with the key of a person who is removed', async () => {
    const { subject, person } = await join();
    await sql("UPDATE members SET role = 'operator' WHERE id = $1", [person]);
    const made = await api.ask(
      await issuer.token(subject),
      'mutation { createApiKey(input: { name: "k", role: "operator" }) { key } }',
    );
    const { key } = field<{ key: string }>(made, 'createApiKey');
    const remove = (): Promise<unknown> =>
      sql('UPDATE members SET removed_at = now() WHERE id = $1', [person]);
    expect(await endsAfter(key, remove)).toBeLessThan(END_MS_MAX);
    expect((await api.ask(key, RUN, { id })).errors?.[0]?.extensions.code).toBe('UNAUTHENTICATED');
  });

  it('ends when the token does', async () => {
    const { subject } = await join();
    const exp = Math.floor(Date.now() / 1000) + 2;
    const token = await issuer.token(subject, { exp });
    const wait = (): Promise<void> =>
      new Promise((resolve) => setTimeout(resolve, Math.max(exp * 1000 - Date.now(), 0)));
    expect(await endsAfter(token, wait)).toBeLessThan(END_MS_MAX);
  });

  it('ends with the tenant, and goes on for others when somebody else is removed', async () => {
    const { subject } = await join();
    const stranger = await join();
    const token = await issuer.token(subject);
    const events = api.subscribe(token, WATCH, { id });
    await events.next();
    const key = await api.key(ACME, 'viewer');
    await revokeApiKey(api.deps.door.tenant(ACME), key.slice(4, 12));
    await sql('UPDATE members SET removed_at = now() WHERE id = $1', [stranger.person]);
    const quiet = new Promise((resolve) => setTimeout(() => resolve('still open'), END_MS_MAX));
    expect(await Promise.race([events.next(), quiet])).toBe('still open');
    await events.return?.();
    expect(
      await endsAfter(token, () => sql("UPDATE tenants SET status = 'suspended' WHERE id = 'acme'")),
    ).toBeLessThan(END_MS_MAX);
    await sql("UPDATE tenants SET status = 'active' WHERE id = 'acme'");
  });
});
