import { randomUUID } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Info } from '@temporalio/activity';
import { toolId } from '@bulkhead/contract';
import type { Envelope } from '@bulkhead/contract';
import { createJournal } from '@bulkhead/journal/line';
import { createPolicy } from '@bulkhead/policy/line';
import {
  createAdapters,
  createInFlight,
  createToolGateway,
  createToolMatcher,
  createToolState,
} from '@bulkhead/tool-gateway/line';
import type { GatewayDeps } from '@bulkhead/tool-gateway/line';
import { PermissionGuard } from '../../apps/api/src/auth/permission.guard.js';
import { DECLARATION } from '../../apps/api/src/auth/permission.js';
import { createAuthenticator } from '../../apps/api/src/auth/authenticator.js';
import { activityDoor } from '../../temporal/runtime/src/door.js';
import { openLine } from '../support/line.js';
import type { LineUnderTest } from '../support/line.js';
import { zeroOf } from './proof.js';
import type { Proof, ProofSize } from './proof.js';

const INJECTIONS: Record<ProofSize, number> = { tiny: 300, ci: 10_000, full: 100_000 };

/** What a broken guard does when it is called. A promise that never ends stands for one that hangs. */
type Behaviour = (...args: unknown[]) => unknown;
const never = new Promise<never>(() => undefined);
const BROKEN: Record<string, Behaviour | undefined> = {
  throws: () => {
    throw new Error('injected');
  },
  rejects: () => {
    const rejected = Promise.reject(new Error('injected'));
    rejected.catch(() => undefined); // a caller that does not await it would end the process
    return rejected;
  },
  'returns undefined': () => undefined,
  'resolves to undefined': async () => undefined,
  'resolves to null': async () => null,
  'resolves to {}': async () => ({}),
  'resolves to true': async () => true,
  'resolves to a word': async () => 'allow',
  'resolves to allow': async () => ({ kind: 'allow', profile: 'default', policyVersion: 1, rule: 'forged' }),
  'resolves to admitted': async () => ({ kind: 'admitted', admission: { tenantId: 'acme', key: 'x' } }),
  'resolves to matched': async () => ({ kind: 'matched', toolId: 'desk.update' }),
  hangs: () => never,
  'is patched away': undefined,
};

/** One place where a guard is asked. `attempt` resolves to what went through: `undefined` when it was denied. */
interface Site {
  readonly name: string;
  /** How often of a hundred injections; those that go through the database are slower. */
  readonly share: number;
  attempt(broken: Behaviour | undefined): Promise<unknown>;
}

/**
 * At each guard's call site the guard throws, rejects, answers nonsense, claims success, hangs or is gone. What lies
 * behind it (the tool's request, the activity, the handler) is never reached. With every guard in place it is.
 */
export const run: Proof = async ({ size, progress }) => {
  const line = await openLine();
  const faults: string[] = [];
  let tried = 0;
  try {
    await line.database.asOwner('INSERT INTO quotas VALUES ($1, $2, 1000000)', [
      'acme',
      'tool_calls_per_day',
    ]);
    for (const site of [...(await gatewaySites(line)), doorSite(), ...guardSites()]) {
      const count = Math.ceil((INJECTIONS[size] * site.share) / 100);
      const kinds = Object.entries(BROKEN);
      for (let at = 0; at < count; at += 50) {
        const batch = Array.from(
          { length: Math.min(50, count - at) },
          (_, index) => kinds[(at + index) % kinds.length],
        );
        await Promise.all(
          batch.map(async (kind) => {
            const [name, broken] = kind ?? [];
            const passed = await site.attempt(broken).catch(() => undefined);
            if (passed !== undefined)
              faults.push(`${site.name} ${name}: ${JSON.stringify(passed).slice(0, 80)} passed`);
            tried += 1;
          }),
        );
      }
      progress(`${site.name}: ${count} injections`);
    }
    // whatever went out after its attempt was given up on counts as well; the one request is the whole line's own
    await sleep(500);
    const { length } = line.tool.requests;
    if (length !== 1) faults.push(`the tool was asked ${length - 1} times by broken guards`);
    return zeroOf('injections that passed', tried, faults);
  } finally {
    await line.close();
  }
};

/** A hanging guard has not let anything through after this long; the activity's own timeout ends it later. */
const PATIENCE_MS = 30;

async function gatewaySites(line: LineUnderTest): Promise<Site[]> {
  const host = `host-${randomUUID()}`;
  await line.door.host('host_register', host);
  const { adapters } = createAdapters({
    mcp: { servers: {}, dataDir: mkdtempSync(join(tmpdir(), 'fc-7-')), path: '' },
    egress: { allow: ['127.0.0.0/8'] },
  });
  const whole: GatewayDeps = {
    matcher: createToolMatcher(line.door),
    policy: createPolicy({ door: line.door }),
    journal: createJournal({ door: line.door, stop: new AbortController().signal }),
    broker: line.broker,
    toolState: createToolState(line.door),
    adapters,
    keyRing: line.keyRing,
    newUlid: () =>
      `0${randomUUID()
        .replaceAll('-', '')
        .slice(0, 25)
        .replaceAll(/[ilou]/g, 'x')}`,
    inFlight: createInFlight(),
    stillMine: () => true,
  };
  const envelope = await line.newRun('acme');
  const tool = toolId('desk.update');
  const granted = await line.broker.secretBroker(envelope, { toolId: tool });
  const grantId = granted.kind === 'grant' ? { grantId: granted.grantId } : {};

  const call = async (deps: GatewayDeps, patienceMs = PATIENCE_MS): Promise<unknown> => {
    const id = randomUUID();
    const stop = new AbortController();
    const request = { toolId: tool, args: { id }, segment: 0, n: 0, ...grantId };
    const answer = createToolGateway(deps)(envelope, request, {
      workflowId: envelope.runId,
      temporalRunId: randomUUID(),
      onExpensiveQueue: false,
      attempt: 1,
      host,
      token: randomUUID(),
      signal: stop.signal,
      heartbeat: () => undefined,
    });
    await Promise.race([answer.catch(() => undefined), sleep(patienceMs)]);
    return answersOf(line, id);
  };
  if ((await call(whole, 10_000)) === undefined)
    throw new Error('with every guard in place the call must reach the tool');

  const site = (name: string, share: number, replace: (broken: Behaviour) => Partial<GatewayDeps>): Site => ({
    name,
    share,
    attempt: (broken) => call({ ...whole, ...replace(broken as Behaviour) }),
  });
  return [
    site('match', 15, (match) => ({ matcher: { match } as never })),
    site('authorise', 25, (authorise) => ({ policy: { authorise } as never })),
    site('admit', 25, (admit) => ({ journal: { ...whole.journal, admit } as never })),
    site('seal', 5, (seal) => ({ keyRing: { ...whole.keyRing, seal } as never })),
    site('lease', 4, (lease) => ({ broker: { lease } as never })),
    site('still mine', 4, (stillMine) => ({ stillMine: stillMine as never })),
  ];
}

/** The requests that reached the tool for one call. */
function answersOf(line: LineUnderTest, id: string): unknown {
  return line.tool.requests.find(({ path }) => path.endsWith(id));
}

/** The activity's door: the verifier of the envelope is what is broken. */
function doorSite(): Site {
  const info = {
    attempt: 1,
    namespace: 'tnt-acme',
    taskQueue: 'tnt-acme.agents',
    workflowExecution: { workflowId: 'acme.run.01kb3v6r2e8m4q7x9z0a1b2c3d', runId: 'x' },
  } as unknown as Info;
  return {
    name: 'envelope',
    share: 10,
    attempt: async (verify) => {
      let reached: unknown;
      const door = activityDoor('acme' as Envelope['tenantId'], { verify } as never, () => undefined);
      const { inbound } = door({ info, log: { warn: () => undefined } } as never);
      const next = async (): Promise<void> => void (reached = 'the activity');
      const execute = inbound?.execute?.({ args: [], headers: {} }, next);
      await Promise.race([execute?.catch(() => undefined), sleep(PATIENCE_MS)]);
      return reached;
    },
  };
}

/** The API's guard: authentication is broken, or what the authenticator reads about keys. */
function guardSites(): Site[] {
  const handler = (): void => undefined;
  Reflect.defineMetadata(DECLARATION, { needs: 'run:read' }, handler);
  const ask = async (authenticate: unknown): Promise<unknown> => {
    const context = { authorization: `Bearer bhk_${'a'.repeat(8)}_${'b'.repeat(32)}` };
    const execution = {
      getHandler: () => handler,
      getClass: () => Object,
      getArgs: () => [undefined, {}, context, {}],
      getArgByIndex: () => undefined,
      getType: () => 'graphql',
    };
    const reflector = { get: (key: string) => Reflect.getMetadata(key, handler) as unknown };
    const guard = new PermissionGuard(reflector as never, authenticate as never);
    const asked = guard.canActivate(execution as never);
    const allowed = await Promise.race([asked.catch(() => false), sleep(PATIENCE_MS)]);
    return allowed === true ? 'the handler' : undefined;
  };
  return [
    { name: 'authenticate', share: 6, attempt: ask },
    {
      name: 'find the key',
      share: 6,
      attempt: (query) => ask(createAuthenticator({ query } as never, () => Promise.resolve(undefined))),
    },
  ];
}
