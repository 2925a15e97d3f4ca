import { Ajv2020 } from 'ajv/dist/2020.js';
import { BulkheadError } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import { schemaProblem, ToolSpecSchema } from '@bulkhead/contract/schemas';
import type { ToolSpec } from '@bulkhead/contract/schemas';

/**
 * A declaration as it may be stored. @throws BulkheadError BAD_INPUT with the field that is wrong.
 */
export function checkedSpec(spec: Json): ToolSpec {
  const parsed = ToolSpecSchema.safeParse(spec);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw badSpec(issue?.path.join('.') || 'spec', issue?.message ?? 'not valid');
  }
  const { inputSchema, costMicros, costReportedAt } = parsed.data;
  // of nothing nothing is reserved, so no budget would ever stand in its way
  if (costReportedAt !== undefined && costMicros === 0)
    throw badSpec('costMicros', 'must be above 0 where costReportedAt is given: it is what a call reserves');
  if (inputSchema['type'] !== 'object' || inputSchema['additionalProperties'] !== false) {
    throw badSpec('inputSchema', 'must be an object schema with additionalProperties: false');
  }
  const schemas = [inputSchema, 'outputSchema' in parsed.data ? parsed.data.outputSchema : undefined];
  for (const schema of schemas) {
    if (!schema) continue;
    const problem = schemaProblem(schema);
    if (problem !== undefined)
      throw badSpec(schema === inputSchema ? 'inputSchema' : 'outputSchema', problem);
    compileSchema(schema);
  }
  if (parsed.data.adapter === 'http' && parsed.data.url !== undefined)
    checkTemplate(parsed.data.url, inputSchema);
  if (parsed.data.compensation !== undefined) checkCompensation(parsed.data, parsed.data.compensation);
  return parsed.data;
}

/** Compiles one schema, strictly and on its own: an `$id` must not answer for its namesake of another tenant. */
export function compileSchema(schema: Record<string, unknown>) {
  try {
    return new Ajv2020({ strict: true, allErrors: false, ownProperties: true, logger: false }).compile(
      schema,
    );
  } catch (cause) {
    throw new BulkheadError('BAD_INPUT', {
      field: 'inputSchema',
      publicMessage: 'The schema is not valid JSON Schema (draft 2020-12).',
      cause,
    });
  }
}

/** Places stand in the path only: an argument in host, login or port would choose where the credential goes. */
function checkTemplate(template: string, inputSchema: Record<string, unknown>): void {
  const url = URL.parse(template.replaceAll(/\{[^{}]+\}/g, 'x'));
  const origin = /^https?:\/\/([^/?#]*)/.exec(template)?.[1] ?? '{';
  if (
    !url ||
    url.username !== '' ||
    url.password !== '' ||
    url.hash !== '' ||
    /[{}]/.test(origin + url.search)
  ) {
    throw badSpec('url', 'must be an absolute http or https URL with {places} in its path only');
  }
  if (/[{}]/.test(template.split('?')[1] ?? '')) throw badSpec('url', 'may have {places} in its path only');
  // whatever the parser makes of slashes and tabs: no place may reach the host
  const other = URL.parse(template.replaceAll(/\{[^{}]+\}/g, 'y'));
  if (other?.origin !== url.origin) throw badSpec('url', 'may have {places} in its path only');
  const required: unknown = inputSchema['required'];
  const names = [...template.matchAll(/\{([^{}]+)\}/g)].map((match) => match[1] ?? '');
  for (const name of names) {
    if (!Array.isArray(required) || !required.includes(name)) {
      throw badSpec('url', `place {${name}} is not a required argument`);
    }
  }
}

/** Only what changed something can be undone, and only with arguments that the call had. */
function checkCompensation(spec: ToolSpec, { args }: NonNullable<ToolSpec['compensation']>): void {
  if (spec.effect !== 'write') throw badSpec('compensation', 'is for tools with effect write');
  const known: unknown = spec.inputSchema['properties'];
  for (const [name, argument] of Object.entries(args)) {
    if (!('from' in argument) || argument.from !== 'args') continue;
    const [first = ''] = argument.path.split('.');
    if (typeof known !== 'object' || known === null || !Object.hasOwn(known, first)) {
      throw badSpec(`compensation.args.${name}`, `the tool has no argument ${first}`);
    }
  }
}

export const badSpec = (field: string, message: string): BulkheadError =>
  new BulkheadError('BAD_INPUT', { field, publicMessage: `${field}: ${message}` });
