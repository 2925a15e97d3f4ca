import { randomBytes } from 'node:crypto';
import { Connection, isGrpcServiceError } from '@temporalio/client';
import { BulkheadError } from '@bulkhead/contract';

/**
 * A namespace is a fence only on a server that checks tokens. One that lets strangers in is found out before the first
 * token leaves the process, because nothing else would ever show it: everything works there.
 */

export interface ServerCheckOptions {
  readonly address: string;
  readonly tls?: boolean | undefined;
  /** A genuine token of a namespace that is nobody's. Only the control process can make one. */
  readonly foreignToken?: () => string;
  /** true: an open server is a warning (development), not the end. */
  readonly allowOpen: boolean;
  readonly log: { warn(fields: object, message: string): void };
}

export interface ServerCheck {
  /**
   * Asks once. A server that is away leaves everything as it was.
   * @throws BulkheadError TEMPORAL_UNPROTECTED when the server lets strangers in and that is not allowed.
   */
  checkOnce(): Promise<'refuses' | 'open' | 'away'>;
  /** @throws BulkheadError TEMPORAL_UNAVAILABLE until the server has shown what it does with strangers. */
  assertChecked(): void;
}

const REQUEST_MS_MAX = 3_000;
const NOT_FOUND = 5;
/** PERMISSION_DENIED and UNAUTHENTICATED. */
const REFUSALS: readonly number[] = [7, 16];

export function createServerCheck(options: ServerCheckOptions): ServerCheck {
  let checked = false;
  return {
    async checkOnce() {
      const letIn = await whoIsLetIn(options).catch((error: unknown) => {
        options.log.warn({ error }, 'the Temporal server cannot be asked whether it checks tokens');
        return 'away' as const;
      });
      if (letIn === 'away') return letIn;
      if (letIn === undefined) {
        checked = true;
        return 'refuses';
      }
      const said = `the Temporal server at ${options.address} lets in ${letIn}`;
      checked = options.allowOpen;
      if (!options.allowOpen) throw new BulkheadError('TEMPORAL_UNPROTECTED', { internal: said });
      options.log.warn({}, `${said}: namespaces are no fence there; for development only`);
      return 'open';
    },
    assertChecked() {
      if (!checked)
        throw new BulkheadError('TEMPORAL_UNAVAILABLE', {
          internal: 'the Temporal server has not shown yet that it checks tokens',
        });
    },
  };
}

/** The first stranger who is let in; undefined when all are refused. @throws when the server gives no clear answer. */
async function whoIsLetIn(options: ServerCheckOptions): Promise<string | undefined> {
  const strangers: [string, string | undefined][] = [
    ['a call without a token', undefined],
    ['a token that nobody signed', forged()],
  ];
  if (options.foreignToken) strangers.push(['a token of another namespace', options.foreignToken()]);
  for (const [who, token] of strangers) {
    const connection = Connection.lazy({
      address: options.address,
      tls: options.tls ?? false,
      connectTimeout: REQUEST_MS_MAX,
      ...(token === undefined ? {} : { apiKey: token }),
    });
    try {
      if (!(await isRefused(connection))) return who;
    } finally {
      await connection.close();
    }
  }
  return undefined;
}

/** Asks for one namespace by name and for the list of all. */
async function isRefused(connection: Connection): Promise<boolean> {
  const { workflowService } = connection;
  const questions: (() => Promise<unknown>)[] = [
    () => workflowService.describeNamespace({ namespace: `probe-${randomBytes(6).toString('hex')}` }),
    () => workflowService.listNamespaces({ pageSize: 1 }),
  ];
  for (const question of questions) {
    try {
      await connection.withDeadline(Date.now() + REQUEST_MS_MAX, question);
      return false;
    } catch (error) {
      const code = isGrpcServiceError(error) ? Number(error.code) : undefined;
      if (code === NOT_FOUND) return false; // it looked, so it let us in
      // anything else says nothing about tokens, and an unclear answer is no permission
      if (code === undefined || !REFUSALS.includes(code)) throw error;
    }
  }
  return true;
}

/** Well formed, for the whole cluster, and signed by nobody. */
function forged(): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1000) + 60;
  const head = part({ alg: 'RS256', typ: 'JWT', kid: 'nobody' });
  return `${head}.${part({ sub: 'nobody', permissions: ['temporal-system:admin'], exp })}.${randomBytes(256).toString('base64url')}`;
}
