import { randomUUID } from 'node:crypto';
import { GraphQLError } from 'graphql';
import type { Logger } from 'pino';
import { BulkheadError, FAILURES, InvalidId } from '@bulkhead/contract';
import type { FailureDetails } from '@bulkhead/contract';

interface Shown extends FailureDetails {
  readonly code: string;
}

/** What may leave the process about an error: a public message, a code, the field at fault, and the id in our log. */
export class PublicError extends GraphQLError {
  declare readonly extensions: Shown;
}

/** Limits and syntax of HTTP, told before GraphQL is reached. */
interface HttpFault {
  readonly statusCode: number;
  readonly code: string;
}

/**
 * The one way from an error to an answer. Errors of the caller say what to change; of all others only an id leaves,
 * and the rest is logged under it.
 */
export function publicErrors(error: unknown, log: Logger): PublicError[] {
  if (error instanceof PublicError) return [error];
  const inner = thrownIn(error);
  if (inner instanceof PublicError) return [at(inner, error)];
  if (hasParts(inner)) return inner.errors.flatMap((part) => publicErrors(part, log));
  if (inner instanceof BulkheadError) return [at(fromFault(inner, log), error)];
  if (inner instanceof InvalidId) {
    return [at(make('BAD_USER_INPUT', `${inner.field} is not valid.`, { field: inner.field }), error)];
  }
  if (inner instanceof GraphQLError && isCallers(inner)) return [fromGraphql(inner)];
  const fault = httpFault(inner);
  if (fault) return [fromHttp(fault)];
  return [at(fromFault(new BulkheadError('INTERNAL', { cause: inner }), log), error)];
}

/** What a resolver threw; a scalar's complaint about a value stays wrapped, because the wrapper names the field. */
function thrownIn(error: unknown): unknown {
  if (!(error instanceof GraphQLError) || !error.originalError) return error;
  const { originalError } = error;
  return originalError instanceof GraphQLError && !(originalError instanceof PublicError)
    ? error
    : originalError;
}

/** As publicErrors, for the places that throw one. */
export function publicError(error: unknown, log: Logger): PublicError {
  return publicErrors(error, log)[0] ?? fromFault(new BulkheadError('INTERNAL', { cause: error }), log);
}

function fromFault(fault: BulkheadError, log: Logger): PublicError {
  const spec = FAILURES[fault.code];
  const field = fault.field === undefined ? {} : { field: fault.field };
  if (spec.owner === 'client')
    return make(spec.publicCode, fault.publicMessage, { ...fault.details, ...field });
  const id = randomUUID();
  log.error({ id, code: fault.code, err: fault, cause: fault.cause }, 'request failed');
  return make(spec.publicCode, spec.publicMessage, { ...field, id });
}

/** Syntax, validation and variables; an error with a path arose while answering and is ours, unless an argument is named. */
const isCallers = (error: GraphQLError): boolean => !error.path || error.message.startsWith('Argument "');

/** GraphQL's messages name the field in their text only. The first that matches wins. */
const FIELD_IN_MESSAGE = [
  /Unknown argument "(\w+)"/,
  /argument "(\w+)"/i,
  /Cannot query field "(\w+)"/,
  /Field "(?:\w+\.)?(\w+)"/,
  /Variable "\$(\w+)"/,
  /Unknown type "(\w+)"/,
];

function fromGraphql(error: GraphQLError): PublicError {
  // suggestions tell names of the schema, and the value may be long
  const message = error.message.replace(/\s*Did you mean .*$/s, '').slice(0, 500);
  const field = fieldOf(error.message);
  return at(make('BAD_USER_INPUT', message, field === undefined ? {} : { field }), error);
}

function fieldOf(message: string): string | undefined {
  const variable = /^Variable "\$(\w+)" got invalid value /.exec(message)?.[1];
  if (variable === undefined) {
    return FIELD_IN_MESSAGE.map((pattern) => pattern.exec(message)?.[1]).find((name) => name !== undefined);
  }
  // e.g. `Variable "$input" got invalid value {} at "input.a"; Field "b" of required type ...` is about input.a.b
  const base = / at "([\w.[\]]+)"; /.exec(message)?.[1] ?? variable;
  const part = /; Field "(\w+)"/.exec(message)?.[1];
  return part === undefined ? base : `${base}.${part}`;
}

function fromHttp(fault: HttpFault): PublicError {
  if (fault.statusCode === 413) {
    return make(FAILURES.PAYLOAD_TOO_LARGE.publicCode, 'The request is larger than 256 KiB.', {
      field: 'body',
    });
  }
  if (fault.statusCode === 415) {
    const { publicCode, publicMessage } = FAILURES.UNSUPPORTED_MEDIA_TYPE;
    return make(publicCode, publicMessage, { field: 'content-type' });
  }
  return make('BAD_USER_INPUT', 'The request is not a GraphQL request in JSON.', { field: 'body' });
}

const make = (code: string, message: string, more: FailureDetails): PublicError =>
  new PublicError(message, { extensions: { ...more, code } });

/**
 * Keeps where an error belongs: its path when it arose while answering, its place in the document otherwise. A compiled
 * query knows no places, so the same question asked twice would be answered differently.
 */
function at(shown: PublicError, from: unknown): PublicError {
  if (!(from instanceof GraphQLError)) return shown;
  const { message, extensions } = shown;
  if (from.path) return new PublicError(message, { extensions, path: from.path });
  const place = { nodes: from.nodes ?? null, source: from.source ?? null, positions: from.positions ?? null };
  return new PublicError(message, { extensions, ...place });
}

function hasParts(error: unknown): error is { errors: readonly unknown[] } {
  const parts: unknown = error instanceof Error ? Reflect.get(error, 'errors') : undefined;
  return Array.isArray(parts) && parts.length > 0;
}

function httpFault(error: unknown): HttpFault | undefined {
  if (!(error instanceof Error)) return undefined;
  const statusCode: unknown = Reflect.get(error, 'statusCode');
  const code: unknown = Reflect.get(error, 'code') ?? '';
  if (typeof statusCode !== 'number' || statusCode < 400 || statusCode > 499) return undefined;
  return { statusCode, code: String(code) };
}
