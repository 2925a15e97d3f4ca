import { pino } from 'pino';
import type { Logger } from 'pino';

/** JSON lines on stdout; the launcher sends them to a file. Fields hold ids and codes, never inputs, results or secrets. */
export function createLog(name: string, level: string): Logger {
  return pino({
    name,
    level,
    // an error of a driver can carry its connection string, a vendor's the request: name, code and text suffice
    serializers: { error: describe, err: describe },
  });
}

function describe(error: unknown): object {
  if (!(error instanceof Error)) return { message: String(error) };
  const code: unknown = Reflect.get(error, 'code');
  return { name: error.name, message: error.message, code, stack: error.stack };
}
