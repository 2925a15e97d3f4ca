import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** One guard, the exact edit that takes it away, and the test that must notice. */
export interface Guard {
  readonly name: string;
  /** A source file; or the function of the database whose newest text, in whichever migration, is meant. */
  readonly at: { readonly file: string } | { readonly sql: string };
  /** Occurs exactly once in that text. */
  readonly find: string;
  readonly replace: string;
  /** `<project>:<spec>`, the project being vitest's. */
  readonly spec: `${'unit' | 'integration'}:${string}`;
  /** Part of the name of the test: of its suites and its own, with a space between. */
  readonly test: string;
  /** The test starts processes or workflows from dist, so the edit has to be built. */
  readonly build?: boolean;
}

export interface Edit {
  readonly file: string;
  readonly before: string;
  readonly after: string;
}

const MIGRATIONS = 'prisma/migrations';

/** The edit of a guard in a checkout. @throws Error when it does not apply any more, or the test is not there */
export function editOf(root: string, guard: Guard): Edit {
  const file = 'file' in guard.at ? guard.at.file : migrationOf(root, guard.at.sql);
  const before = readFileSync(join(root, file), 'utf8');
  const start = 'file' in guard.at ? 0 : lastDefinition(before, guard.at.sql);
  const found = before.indexOf(guard.find, start);
  if (found === -1) throw new Error(`${guard.name}: ${file} has no "${guard.find}"`);
  const end = 'file' in guard.at ? before.length : endOfFunction(before, start);
  if (found + guard.find.length > end) throw new Error(`${guard.name}: outside the function`);
  if (before.slice(found + 1, end).includes(guard.find))
    throw new Error(`${guard.name}: ${file} has "${guard.find}" more than once`);
  if (guard.find === guard.replace) throw new Error(`${guard.name}: the edit changes nothing`);
  const { file: spec } = specOf(guard);
  if (!existsSync(join(root, spec))) throw new Error(`${guard.name}: there is no ${spec}`);
  const after = before.slice(0, found) + guard.replace + before.slice(found + guard.find.length);
  return { file, before, after };
}

export function specOf({ spec }: Guard): { project: string; file: string } {
  const [project = '', file = ''] = spec.split(':');
  return { project, file };
}

/** The guard's test as vitest's `-t`, which is a pattern and wants ` > ` between the name of a suite and that of its test. */
export const testPattern = ({ test }: Pick<Guard, 'test'>): string =>
  test.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&').replaceAll(' ', '( > | )');

/** The last migration that writes a function decides what it is. */
function migrationOf(root: string, name: string): string {
  const files = readdirSync(join(root, MIGRATIONS), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(MIGRATIONS, entry.name, 'migration.sql'))
    .sort()
    .toReversed();
  const file = files.find((path) => definition(name).test(readFileSync(join(root, path), 'utf8')));
  if (file === undefined) throw new Error(`no migration has a function ${name}`);
  return file;
}

const definition = (name: string): RegExp => new RegExp(`CREATE (OR REPLACE )?FUNCTION ${name}\\(`, 'g');

const lastDefinition = (text: string, name: string): number =>
  [...text.matchAll(definition(name))].at(-1)?.index ?? 0;

/** A body stands between two `$$`. */
function endOfFunction(text: string, start: number): number {
  const body = text.indexOf('$$', start);
  const end = text.indexOf('$$', body + 2);
  return body === -1 || end === -1 ? text.length : end;
}
