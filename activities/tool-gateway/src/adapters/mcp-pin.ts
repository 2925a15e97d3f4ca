import { createHash } from 'node:crypto';
import type { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { canonicalJson, depthExceeds, isStorable } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import type { ToolOffer } from './adapter.js';

const PAGES_MAX = 20;
const TOOLS_MAX = 1_000;
const DESCRIPTION_MAX = 2_000;
const SCHEMA_BYTES_MAX = 65_536;
const DEPTH_MAX = 32;

/** One tool as a server lists it. */
export interface ListedTool {
  readonly name: string;
  readonly title?: string | undefined;
  readonly description?: string | undefined;
  readonly inputSchema: object;
  readonly outputSchema?: object | undefined;
  readonly annotations?: object | undefined;
}

/** All that a model or a person is told about a tool: whoever approved it approved this, to the letter. */
export function pinOf({
  name,
  title,
  description,
  inputSchema,
  outputSchema,
  annotations,
}: ListedTool): string {
  const told = {
    name,
    title: title ?? null,
    description: description ?? null,
    inputSchema,
    outputSchema: outputSchema ?? null,
    annotations: annotations ?? null,
  };
  return createHash('sha256')
    .update(canonicalJson(told as Json))
    .digest('hex');
}

/**
 * What the server offers under this name now. A name that is listed twice is offered by nobody: one of the two would
 * stand in for the other.
 * @throws Error when the server does not list its tools within the bounds.
 */
export async function offerOf(client: Client, name: string, signal: AbortSignal): Promise<ToolOffer> {
  return asOffer((await listedTools(client, signal)).filter((tool) => tool.name === name));
}

/** Every tool that the server lists, at most 1,000. @throws Error when it lists more, or its list does not end. */
export async function listedTools(client: Client, signal: AbortSignal): Promise<readonly ListedTool[]> {
  const found: ListedTool[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const answer = await client.listTools(cursor === undefined ? {} : { cursor }, { signal });
    found.push(...answer.tools);
    if (found.length > TOOLS_MAX) throw new Error('the server lists too many tools');
    cursor = answer.nextCursor;
    if (cursor === undefined) return found;
  }
  throw new Error('the list of tools does not end');
}

const NONE: ToolOffer = { pin: null, description: '', inputSchema: {} };

/** @param found what is listed under one name */
export function asOffer(found: readonly ListedTool[]): ToolOffer {
  const [tool] = found;
  if (!tool || found.length > 1 || depthExceeds(tool as unknown as Json, DEPTH_MAX)) return NONE;
  const text = JSON.stringify(tool);
  // what is too large to be shown to a person, or cannot be written down, cannot be approved
  if (Buffer.byteLength(text) > SCHEMA_BYTES_MAX || !isStorable(text)) return NONE;
  const { description = '', inputSchema } = tool;
  return { pin: pinOf(tool), description, inputSchema: inputSchema as Json };
}

/**
 * As it is kept and shown. Cut last: from what is cut before the credential is taken out, the first half of one that lies
 * across the cut is not. A character that is cut in two could not be written down.
 */
export const shortened = (offer: ToolOffer): ToolOffer => ({
  ...offer,
  description: offer.description.slice(0, DESCRIPTION_MAX).toWellFormed(),
});
