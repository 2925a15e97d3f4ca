import { WORKFLOWS } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';

/** What the two demo tenants have: tools, rules, agent. Plain data; seed.ts writes it through the capabilities. */

/** Where the demo's services listen. */
export interface DemoEndpoints {
  /** e.g. `http://127.0.0.1:4010` */
  readonly helpdesk: string;
  /** OpenAI-compatible base URL, e.g. `http://127.0.0.1:4011/v1` */
  readonly model: string;
  readonly modelName: string;
}

interface DemoTenant {
  readonly id: 'acme' | 'globex';
  readonly name: string;
  readonly ticketId: string;
  readonly policy: Json;
}

const object = (properties: Record<string, Json>, required: readonly string[]): Json => ({
  type: 'object',
  properties,
  required,
  additionalProperties: false,
});
const text = (maxLength: number, description: string): Json => ({
  type: 'string',
  minLength: 1,
  maxLength,
  description,
});

const READ = {
  id: 'read-own-systems',
  effect: 'allow',
  tools: ['helpdesk.ticket.read', 'memory.*', 'model.chat', 'webhook.post'],
  reason: 'Agents may read tickets, remember, ask the model and call webhooks.',
} as const;
const NO_EXTERNAL = {
  id: 'no-external-destinations',
  effect: 'deny',
  tools: ['webhook.post'],
  when: { 'destination.host': { notIn: ['hooks.internal.example'] } },
  reason: 'Ticket content must not leave for hosts that nobody approved.',
} as const;

export const DEMO_TENANTS: readonly DemoTenant[] = [
  {
    id: 'acme',
    name: 'Acme Corporation',
    ticketId: 'T-1001',
    policy: {
      rules: [
        READ,
        {
          id: 'writes-allowed',
          effect: 'allow',
          tools: ['helpdesk.ticket.update'],
          reason: 'Acme lets its agent answer.',
        },
        NO_EXTERNAL,
      ],
    },
  },
  {
    id: 'globex',
    name: 'Globex Industries',
    ticketId: 'T-2001',
    policy: {
      rules: [
        READ,
        {
          id: 'writes-need-approval',
          effect: 'allow',
          tools: ['helpdesk.ticket.update'],
          approval: { approvers: ['admin'], expiresInSeconds: 86_400 },
          reason: 'At Globex a person looks at every answer before it is sent.',
        },
        NO_EXTERNAL,
      ],
    },
  },
];

/** The tools of a demo tenant, by id, in the shape of the contract's ToolSpecSchema. */
export function demoTools(at: DemoEndpoints): Record<string, Json> {
  const bearer = (secret: string): Json => ({ secret, slot: { header: 'authorization', prefix: 'Bearer ' } });
  const helpdesk = {
    adapter: 'http',
    url: `${at.helpdesk}/tickets/{ticketId}`,
    credential: bearer('helpdesk'),
  } as const;
  const ticketId = text(64, 'Id of the ticket, e.g. T-42');
  return {
    'helpdesk.ticket.read': {
      ...helpdesk,
      description: 'Reads one ticket of the helpdesk.',
      method: 'GET',
      effect: 'read',
      idempotency: 'natural',
      inputSchema: object({ ticketId }, ['ticketId']),
    },
    'helpdesk.ticket.update': {
      ...helpdesk,
      description: 'Writes the answer of a ticket.',
      method: 'PATCH',
      effect: 'write',
      idempotency: 'keyed',
      inputSchema: object({ ticketId, answer: text(4000, 'The answer that the customer will read') }, [
        'ticketId',
        'answer',
      ]),
    },
    'memory.search_nodes': {
      adapter: 'mcp',
      server: { stdio: 'memory' },
      tool: 'search_nodes',
      description: 'Searches what this tenant has remembered.',
      effect: 'read',
      idempotency: 'natural',
      inputSchema: object({ query: text(400, 'Words to look for') }, ['query']),
    },
    'memory.create_entities': {
      adapter: 'mcp',
      server: { stdio: 'memory' },
      tool: 'create_entities',
      description: 'Remembers facts about named things.',
      effect: 'write',
      idempotency: 'natural',
      inputSchema: object({ entities: { type: 'array', minItems: 1, maxItems: 20, items: ENTITY } }, [
        'entities',
      ]),
    },
    'model.chat': {
      adapter: 'model',
      baseUrl: at.model,
      model: at.modelName,
      credential: bearer('model'),
      description: 'Asks the language model.',
      effect: 'read',
      idempotency: 'natural',
      inputSchema: object(
        {
          messages: { type: 'array', minItems: 1, maxItems: 50, items: MESSAGE },
          maxTokens: { type: 'integer', minimum: 1, maximum: 4096 },
        },
        ['messages'],
      ),
    },
    'webhook.post': {
      adapter: 'http',
      urlArgument: 'url',
      method: 'POST',
      description: 'Posts a message to a webhook.',
      effect: 'irreversible',
      idempotency: 'none',
      inputSchema: object({ url: { type: 'string', maxLength: 2000 }, text: text(2000, 'The message') }, [
        'url',
        'text',
      ]),
    },
  };
}

const ENTITY: Json = object(
  {
    name: text(120, 'Name'),
    entityType: text(60, 'Kind'),
    observations: { type: 'array', maxItems: 20, items: text(500, 'A fact') },
  },
  ['name', 'entityType', 'observations'],
);
const MESSAGE: Json = object(
  { role: { type: 'string', enum: ['system', 'user', 'assistant'] }, content: text(20_000, 'Text') },
  ['role', 'content'],
);

/** The demo's agent: the same for both tenants, what it may do is each tenant's policy. */
export const DEMO_AGENT = {
  id: 'support-triage',
  name: 'Support triage',
  description: 'Reads a ticket, recalls what is known, drafts an answer and writes it back.',
  workflowType: WORKFLOWS.supportTriage,
  inputSchema: object({ ticketId: text(64, 'Ticket to answer') }, ['ticketId']),
} as const;
