import { Ajv2020 } from 'ajv/dist/2020.js';
import type { ValidateFunction } from 'ajv/dist/2020.js';
import { BoundedMap, BulkheadError, canonicalJson, depthExceeds, isStorable } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import { schemaProblem } from '@bulkhead/contract/schemas';

/** Canonical JSON of a run's input at most. */
const INPUT_BYTES_MAX = 65_536;
/** Deeper values have no use and could exhaust the stack of what walks them. */
const DEPTH_MAX = 64;
const CACHED_SCHEMAS_MAX = 500;

/** Checks a run's input and returns its canonical text. `field` in errors starts with `input`. */
export type InputCheck = (schema: Json, input: Json) => string;

/** Compiled schemas are kept by their text, so two tenants never share by name what differs in content. */
export function createInputCheck(): InputCheck {
  // one ajv per schema: a schema with an $id would otherwise stay registered and answer for its namesake
  const cache = new BoundedMap<string, ValidateFunction>(CACHED_SCHEMAS_MAX);
  const compiled = (schema: Json): ValidateFunction => {
    const text = canonicalJson(schema);
    const known = cache.get(text);
    if (known) return known;
    const validate = compile(schema);
    cache.set(text, validate);
    return validate;
  };
  return (schema, input) => {
    if (depthExceeds(input, DEPTH_MAX)) {
      throw badInput('input', `The input is nested deeper than ${DEPTH_MAX} levels.`);
    }
    const text = canonicalText(input);
    if (Buffer.byteLength(text) > INPUT_BYTES_MAX) {
      throw new BulkheadError('PAYLOAD_TOO_LARGE', {
        field: 'input',
        publicMessage: `The input is larger than ${INPUT_BYTES_MAX} bytes.`,
      });
    }
    if (!isStorable(text)) throw badInput('input', 'The input contains U+0000, which cannot be stored.');
    const validate = compiled(schema);
    if (!validate(input)) throw badInput(...firstProblem(validate));
    return text;
  };
}

function compile(schema: Json): ValidateFunction {
  const problem = schemaProblem(schema);
  if (problem !== undefined) {
    throw new BulkheadError('WORKER_MISCONFIGURED', { internal: `the agent's input schema: ${problem}` });
  }
  try {
    return new Ajv2020({ strict: true, allErrors: false, ownProperties: true, logger: false }).compile(
      schema as object,
    );
  } catch (error) {
    throw new BulkheadError('WORKER_MISCONFIGURED', {
      internal: 'the agent has no valid input schema',
      cause: error,
    });
  }
}

function canonicalText(input: Json): string {
  try {
    return canonicalJson(input);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw badInput('input', 'The input is not JSON.');
  }
}

function firstProblem(validate: ValidateFunction): [field: string, message: string] {
  const problem = validate.errors?.[0];
  if (!problem) return ['input', 'The input does not fit the schema of the agent.'];
  const names: unknown[] = [problem.params.missingProperty, problem.params.additionalProperty];
  const name = names.find((candidate) => typeof candidate === 'string');
  const path = problem.instancePath.split('/').slice(1).map(unescapePointer);
  const field = ['input', ...path, ...(name === undefined ? [] : [name])].join('.');
  return [field, `${field} ${problem.message ?? 'does not fit the schema of the agent'}`];
}

const unescapePointer = (part: string): string => part.replaceAll('~1', '/').replaceAll('~0', '~');

const badInput = (field: string, publicMessage: string): BulkheadError =>
  new BulkheadError('BAD_INPUT', { field, publicMessage });
