import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ACME, AGENT, field, GLOBEX, startApi } from '../support/api.js';
import type { Answer, TestApi } from '../support/api.js';

const FIELDS = 'id scope target state end reason actor inForce waitingFor resumedAt resumedBy resumeReason';
const STOP = `mutation ($scope: ControlScope!, $target: ID, $state: StopState!, $reason: String!, $end: Boolean = false) { stopCalls(scope: $scope, target: $target, state: $state, reason: $reason, end: $end) { ${FIELDS} } }`;
const RESUME = `mutation ($id: ID!, $reason: String!) { resumeCalls(id: $id, reason: $reason) { ${FIELDS} } }`;
const LIST = `query ($lifted: Boolean = false) { controlStates(lifted: $lifted) { ${FIELDS} } }`;
const RANDOM = '01kb3v6r2e8m4q7x9z0a1b2c3d';

interface Shown {
  readonly id: string;
}

describe('kill, pause, read-only and freeze over GraphQL', () => {
  let api: TestApi;
  let operator: string;
  let globex: string;

  beforeAll(async () => {
    api = await startApi({ requestSeconds: 3 });
    operator = await api.key(ACME, 'operator');
    globex = await api.key(GLOBEX, 'admin');
  });
  afterAll(() => api?.close());

  const code = (answer: Answer): string | undefined => answer.errors?.[0]?.extensions.code;

  it('a stop is committed with who and why, is shown, and is lifted by its id', async () => {
    const answer = await api.ask(operator, STOP, {
      scope: 'agent',
      target: AGENT,
      state: 'paused',
      reason: ' it loops ',
    });
    const stop = field<Shown>(answer, 'stopCalls');
    const shown = {
      id: stop.id,
      scope: 'agent',
      target: AGENT,
      state: 'paused',
      end: false,
      reason: 'it loops',
      actor: `key:${operator.slice(4, 12)}`,
      inForce: true,
      waitingFor: [],
      resumedAt: null,
      resumedBy: null,
      resumeReason: null,
    };
    expect(stop).toEqual(shown);
    expect(stop.id).toMatch(/^acme\.stop\./);
    expect(field(await api.ask(operator, LIST), 'controlStates')).toEqual([shown]);
    const lifted = await api.ask(operator, RESUME, { id: stop.id, reason: 'fixed' });
    expect(field(lifted, 'resumeCalls')).toMatchObject({
      inForce: false,
      resumedBy: shown.actor,
      resumeReason: 'fixed',
    });
    expect(field(await api.ask(operator, LIST), 'controlStates')).toEqual([]);
    expect(field(await api.ask(operator, LIST, { lifted: true }), 'controlStates')).toMatchObject([
      { id: stop.id },
    ]);
  });

  it('a stop does not wait for those who only look, nor for those who write secrets', async () => {
    const used: string[] = [];
    const { controlDoor } = api.deps;
    const tenant = controlDoor.tenant.bind(controlDoor);
    Reflect.set(controlDoor, 'tenant', (id: typeof ACME) => {
      used.push(id);
      return tenant(id);
    });
    // one statement holds the lock, and its transaction ends with it
    const lock = api.database.asOwner('DO $$ BEGIN LOCK TABLE secrets; PERFORM pg_sleep(1.5); END $$');
    const reads = Array.from({ length: 12 }, () => api.ask(operator, '{ secrets { name } }'));
    const listed = await api.ask(operator, LIST, { lifted: true });
    expect(listed.errors).toBeUndefined();
    expect(used).toEqual([]);
    const begun = performance.now();
    const stop = { scope: 'tenant', state: 'paused', reason: 'now' };
    const { id } = field<Shown>(await api.ask(operator, STOP, stop), 'stopCalls');
    expect(performance.now() - begun).toBeLessThan(1_000);
    expect(used).not.toEqual([]);
    await api.ask(operator, RESUME, { id, reason: 'tested' });
    Reflect.set(controlDoor, 'tenant', tenant);
    await Promise.all([lock, ...reads]);
  });

  it('answers within the request when a host does not hear it, with the host it waits for', async () => {
    await api.database.asOwner("INSERT INTO hosts (id) VALUES ('host-deaf')");
    await api.database.asOwner(
      `INSERT INTO runs (tenant_id, id, workspace_id, agent_id, workflow_type, idempotency_key, input_digest, input, envelope, actor)
       VALUES ('acme', 'acme.run.${RANDOM}', 'main', $1, 'w', 'deaf', '', '{}', '', 'key:x')`,
      [AGENT],
    );
    await api.database.asOwner(
      `INSERT INTO effects (tenant_id, key, run_id, workflow_id, temporal_run_id, tool_id, tool_version, effect_class, idempotency,
         holder_host, holder_token, policy_version, rule, target, "window", request, deadline_at)
       VALUES ('acme', 'k', 'acme.run.${RANDOM}', 'w', 't', 'a.b', 1, 'write', 'keyed', 'host-deaf', 't', 1, 'r', 't', 'w', '', now())`,
    );
    const answer = await api.ask(operator, STOP, { scope: 'tenant', state: 'killed', reason: 'now' });
    const stop = field<Shown>(answer, 'stopCalls');
    expect(stop).toMatchObject({ inForce: false, waitingFor: ['host-deaf'] });
    await api.database.asOwner("UPDATE hosts SET fenced = true WHERE id = 'host-deaf'");
    const again = await api.ask(operator, STOP, { scope: 'tenant', state: 'killed', reason: 'now' });
    expect(field(again, 'stopCalls')).toMatchObject({ id: stop.id, inForce: true });
    await api.ask(operator, RESUME, { id: stop.id, reason: 'over' });
  });

  it('attack: foreign, random and malformed ids get one and the same answer, and stop nothing', async () => {
    const theirs = field<Shown>(
      await api.ask(globex, STOP, { scope: 'tenant', state: 'paused', reason: 'ours' }),
      'stopCalls',
    );
    const ids = [theirs.id, `globex.stop.${RANDOM}`, `acme.stop.${RANDOM}`, 'x', '%'];
    const lifts = await Promise.all(ids.map((id) => api.ask(operator, RESUME, { id, reason: 'mine now' })));
    expect(new Set(lifts.map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(code(lifts[0]!)).toBe('NOT_FOUND');
    const stops = await Promise.all(
      ['nobody', "' OR 1=1", 'a\u0000b'].map((target) =>
        api.ask(operator, STOP, { scope: 'agent', target, state: 'killed', reason: 'x' }),
      ),
    );
    expect(stops.map(code)).not.toContain(undefined);
    expect(field(await api.ask(operator, LIST), 'controlStates')).toEqual([]);
    expect(field(await api.ask(globex, LIST), 'controlStates')).toHaveLength(1);
  });

  it.each([
    [{ scope: 'tenant', target: AGENT, state: 'killed', reason: 'x' }, 'target'],
    [{ scope: 'agent', state: 'killed', reason: 'x' }, 'target'],
    [{ scope: 'tool', target: 'a.b', state: 'killed', reason: 'x', end: true }, 'end'],
    [{ scope: 'tenant', state: 'paused', reason: 'x', end: true }, 'end'],
    [{ scope: 'tenant', state: 'killed', reason: '  ' }, 'reason'],
  ])('what cannot be meant is refused with the field: %j', async (variables, wrong) => {
    const answer = await api.ask(operator, STOP, variables);
    expect(answer.errors?.[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', field: wrong });
  });

  it('only admins and operators may, and nobody whose key is limited to a workspace', async () => {
    const tries = await Promise.all(
      (['viewer', 'auditor', 'workflow-author'] as const).map(async (role) => {
        const key = await api.key(ACME, role);
        return [
          code(await api.ask(key, STOP, { scope: 'tenant', state: 'paused', reason: 'x' })),
          (await api.ask(key, LIST)).errors,
        ];
      }),
    );
    expect(tries).toEqual(tries.map(() => ['FORBIDDEN', undefined]));
    const limited = await api.key(ACME, 'admin');
    await api.database.asOwner("UPDATE api_keys SET workspace_id = 'main' WHERE prefix = $1", [
      limited.slice(4, 12),
    ]);
    expect(code(await api.ask(limited, STOP, { scope: 'tenant', state: 'paused', reason: 'x' }))).toBe(
      'FORBIDDEN',
    );
  });
});
