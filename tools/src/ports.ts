import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

const SMALLINT_MAX = 32_767;

/** Every port of the local launch: its name for people, its variable and its default. */
export const PORTS = {
  api: { what: 'API', variable: 'BULKHEAD_API_PORT', port: 4000 },
  helpdesk: { what: 'demo helpdesk', variable: 'BULKHEAD_HELPDESK_PORT', port: 4010 },
  model: { what: 'scripted demo model', variable: 'BULKHEAD_MODEL_PORT', port: 4011 },
  temporal: { what: 'Temporal server', variable: 'BULKHEAD_TEMPORAL_PORT', port: 7233 },
  temporalUi: { what: 'Temporal UI server', variable: 'BULKHEAD_TEMPORAL_UI_PORT', port: 8233 },
  postgres: { what: 'PostgreSQL', variable: 'BULKHEAD_POSTGRES_PORT', port: 54320 },
} as const;
export type PortName = keyof typeof PORTS;

/** A port cannot be used; the message is one line and names the way out. */
export class PortProblem extends Error {
  override readonly name = 'PortProblem';
}

/** The configured ports. `0` means: any free one. @throws PortProblem for a value that is no port. */
export async function configuredPorts(env: NodeJS.ProcessEnv): Promise<Record<PortName, number>> {
  const entries = await Promise.all(
    Object.entries(PORTS).map(async ([name, { variable, port }]) => {
      const text = env[variable];
      const value = text === undefined || text === '' ? port : Number(text);
      // Temporal keeps its services' ports in a smallint column
      const max = name === 'temporal' ? SMALLINT_MAX : 65_535;
      if (!Number.isInteger(value) || value < 0 || value > max)
        throw new PortProblem(`${variable}=${text} is not a port number that can be used (0 to ${max})`);
      return [name, value === 0 ? await freePort() : value] as const;
    }),
  );
  return Object.fromEntries(entries) as Record<PortName, number>;
}

/** @throws PortProblem when somebody listens there already, naming the variable that moves us away. */
export async function assertFree(name: PortName, port: number): Promise<void> {
  const { what, variable } = PORTS[name];
  try {
    await bind(port);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'EADDRINUSE' ? 'is taken' : `cannot be used (${code})`;
    throw new PortProblem(
      `port ${port} (${what}) ${why}: stop what uses it, or set ${variable} to another port (0: any free one)`,
      { cause: error },
    );
  }
}

/** A port that was free a moment ago, below 32,768 so that Temporal can use it too. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(15_000, SMALLINT_MAX);
    try {
      return await bind(port);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    }
  }
}

function bind(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      const { port: bound } = server.address() as { port: number };
      server.close(() => resolve(bound));
    });
  });
}
