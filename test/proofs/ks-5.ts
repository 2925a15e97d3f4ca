import { personId, revokeApiKey } from '@bulkhead/tenancy/admin';
import { ACME, AGENT, field, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';
import { startIssuer } from '../support/issuer.js';
import type { TestIssuer } from '../support/issuer.js';
import type { Proof, ProofSize } from './proof.js';

const ROUNDS: Record<ProofSize, number> = { tiny: 1, ci: 20, full: 300 };
const GOAL_MS = 1_000;
const WATCH = 'subscription ($id: ID!) { runChanged(id: $id) { id state } }';

/** Somebody who may watch a run and decide approvals, and a way to take that away. */
interface Revocation {
  readonly name: string;
  open(): Promise<{ readonly token: string; revoke(): Promise<unknown> }>;
  /** What the next operation is answered. */
  readonly code: string;
}

/**
 * A token is revoked while a subscription to a run that does nothing is open. Then the next operation is refused at once,
 * and the stream has ended within a second; the figure is the longest that one lived.
 */
export const run: Proof = async ({ size, progress }) => {
  const issuer = await startIssuer('RS256');
  const api = await startApi({ issuers: [issuer.config] });
  const faults: string[] = [];
  const lived: number[] = [];
  try {
    const id = await quietRun(api);
    for (const revocation of revocations(api, issuer)) {
      const times: number[] = [];
      for (let round = 0; round < ROUNDS[size]; round += 1) {
        const { ms, fault } = await revokeWhileOpen(api, revocation, id);
        times.push(ms);
        if (fault !== undefined) faults.push(`${revocation.name}: ${fault}`);
      }
      lived.push(...times);
      progress(`${revocation.name}: streams ended within ${Math.max(...times).toFixed(0)} ms`);
    }
  } finally {
    await api.close();
    await issuer.close();
  }
  const longest = Math.max(...lived);
  return {
    pass: faults.length === 0 && longest <= GOAL_MS,
    figure: Math.round(longest),
    goal: `<= ${GOAL_MS}, next operation refused`,
    unit: 'ms',
    n: lived.length,
    min: Math.round(Math.min(...lived)),
    max: Math.round(longest),
    faults: faults.slice(0, 10),
  };
};

async function quietRun(api: TestApi): Promise<string> {
  const input = { agentId: AGENT, idempotencyKey: 'quiet', input: { ticketId: 'T-1' } };
  const query = 'mutation ($input: StartRunInput!) { startRun(input: $input) { id } }';
  const answer = await api.ask(await api.key(ACME, 'operator'), query, { input });
  return field<{ id: string }>(answer, 'startRun').id;
}

function revocations(api: TestApi, issuer: TestIssuer): Revocation[] {
  const sql = (text: string, ...values: unknown[]): Promise<unknown> => api.database.asOwner(text, values);
  const withKey = (revoke: (prefix: string) => Promise<unknown>) => async () => {
    const token = await api.key(ACME, 'operator');
    return { token, revoke: () => revoke(token.slice(4, 12)) };
  };
  let people = 0;
  const withMember = (change: string) => async () => {
    const subject = `person-${(people += 1)}`;
    const id = personId(issuer.config.issuer, subject);
    await sql(
      `INSERT INTO members (tenant_id, id, issuer, subject, role, created_by) VALUES ('acme', $1, $2, $3, 'operator', 'test')`,
      id,
      issuer.config.issuer,
      subject,
    );
    const revoke = (): Promise<unknown> =>
      sql(`UPDATE members SET ${change} WHERE tenant_id = 'acme' AND id = $1`, id);
    return { token: await issuer.token(subject), revoke };
  };
  const status = (name: string): Promise<unknown> =>
    sql("UPDATE tenants SET status = $1 WHERE id = 'acme'", name);
  return [
    {
      name: 'a key is revoked',
      code: 'UNAUTHENTICATED',
      open: withKey((prefix) => revokeApiKey(api.deps.door.tenant(ACME), prefix)),
    },
    {
      name: 'a key expires',
      code: 'UNAUTHENTICATED',
      open: withKey((prefix) => sql('UPDATE api_keys SET expires_at = now() WHERE prefix = $1', prefix)),
    },
    {
      name: 'a key is given less',
      code: 'FORBIDDEN',
      open: withKey((prefix) =>
        sql(`UPDATE api_keys SET permissions = '["tenant:read"]' WHERE prefix = $1`, prefix),
      ),
    },
    { name: 'a member is removed', code: 'FORBIDDEN', open: withMember('removed_at = now()') },
    { name: 'the maker of a key is removed', code: 'UNAUTHENTICATED', open: keyOfMember(api, issuer) },
    {
      name: 'a tenant is suspended',
      code: 'TENANT_SUSPENDED',
      open: async () => {
        await status('active');
        return { token: await api.key(ACME, 'operator'), revoke: () => status('suspended') };
      },
    },
  ];
}

/** A key that a person made; it is worth no more than the person. */
function keyOfMember(api: TestApi, issuer: TestIssuer): Revocation['open'] {
  let makers = 0;
  return async () => {
    const subject = `maker-${(makers += 1)}`;
    const id = personId(issuer.config.issuer, subject);
    await api.database.asOwner(
      `INSERT INTO members (tenant_id, id, issuer, subject, role, created_by) VALUES ('acme', $1, $2, $3, 'operator', 'test')`,
      [id, issuer.config.issuer, subject],
    );
    const token = await api.key(ACME, 'operator');
    await api.database.asOwner('UPDATE api_keys SET owner = $1 WHERE prefix = $2', [
      `user:${id}`,
      token.slice(4, 12),
    ]);
    const revoke = (): Promise<unknown> =>
      api.database.asOwner("UPDATE members SET removed_at = now() WHERE tenant_id = 'acme' AND id = $1", [
        id,
      ]);
    return { token, revoke };
  };
}

async function revokeWhileOpen(
  api: TestApi,
  { open, code }: Revocation,
  id: string,
): Promise<{ ms: number; fault: string | undefined }> {
  const { token, revoke } = await open();
  const events = api.subscribe(token, WATCH, { id });
  await events.next();
  const ended = events.next().then(
    (event) => (event.done ? 'completed' : 'an event'),
    () => 'ended',
  );
  await revoke();
  const started = performance.now();
  const next = await api.ask(token, 'query ($id: ID!) { run(id: $id) { id } }', { id });
  const how = await ended;
  const ms = performance.now() - started;
  const answered = next.errors?.map(({ extensions }) => extensions.code).join() ?? 'data';
  if (answered !== code) return { ms, fault: `the next operation was answered ${answered}` };
  return { ms, fault: how === 'ended' ? undefined : `the stream was ${how}` };
}
