/**
 * Branded ids. Every id that leaves a room contains its tenant, so it can be copied into a log or a ticket and still
 * be unambiguous: `<tenant>.<kind>.<ulid>`, for example `acme.run.01kb3v6r2e8m4q7x9z0a1b2c3d`.
 * Builder and parser stand side by side; nobody else splits or joins an id.
 */
declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

export type TenantId = Branded<'TenantId'>;
export type WorkspaceId = Branded<'WorkspaceId'>;
export type AgentId = Branded<'AgentId'>;
export type ToolId = Branded<'ToolId'>;
export type RunId = Branded<'RunId'>;
export type ApprovalId = Branded<'ApprovalId'>;
export type GrantId = Branded<'GrantId'>;
export type InvitationId = Branded<'InvitationId'>;
export type StopId = Branded<'StopId'>;
export type RevocationId = Branded<'RevocationId'>;
export type ImportId = Branded<'ImportId'>;
/** Hex SHA-256 of an effect's identity (LINE: tenant, workflow, segment, tool, canonical arguments, n). */
export type CallKey = Branded<'CallKey'>;
/** A worker process, once fenced never returns. */
export type HostId = Branded<'HostId'>;

const TENANT = /^[a-z][a-z0-9-]{1,30}[a-z0-9]$/;
const SLUG = /^[a-z][a-z0-9-]{0,62}$/;
const TOOL = /^[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*){1,4}$/;
const ULID = /^[0-9a-hjkmnp-tv-z]{26}$/;
const KINDS = {
  run: 'run',
  approval: 'approval',
  grant: 'grant',
  invitation: 'invitation',
  stop: 'stop',
  revocation: 'revocation',
  import: 'import',
} as const;
type Kind = keyof typeof KINDS;

/** Thrown when a text is not an id of the wanted kind; `field` names the offending input. */
export class InvalidId extends Error {
  override readonly name = 'InvalidId';
  constructor(readonly field: string) {
    super(`${field} is not a valid id`);
  }
}

function match<T extends string>(pattern: RegExp, text: unknown, field: string): T {
  if (typeof text !== 'string' || !pattern.test(text)) throw new InvalidId(field);
  return text as T;
}

/** 3 to 32 characters, lower case letters, digits and hyphens; never contains a dot, so it leads every other id. */
export const tenantId = (text: unknown): TenantId => match(TENANT, text, 'tenantId');
export const workspaceId = (text: unknown): WorkspaceId => match(SLUG, text, 'workspaceId');
export const agentId = (text: unknown): AgentId => match(SLUG, text, 'agentId');
/** Dotted lower-case path: system, resource, verb. The first part names the system whose credential is used. */
export const toolId = (text: unknown): ToolId => {
  if (typeof text === 'string' && text.length > 120) throw new InvalidId('toolId');
  return match(TOOL, text, 'toolId');
};

function build<T extends string>(kind: Kind, tenant: TenantId, ulid: string): T {
  if (!ULID.test(ulid)) throw new InvalidId(`${kind}Id`);
  return `${tenant}.${KINDS[kind]}.${ulid}` as T;
}

function parse(kind: Kind, text: unknown): { tenantId: TenantId; ulid: string } | undefined {
  if (typeof text !== 'string') return undefined;
  const [tenant = '', found, ulid = '', ...rest] = text.split('.');
  if (rest.length > 0 || found !== KINDS[kind] || !TENANT.test(tenant) || !ULID.test(ulid)) return undefined;
  return { tenantId: tenant as TenantId, ulid };
}

/** Run id = Temporal workflow id of a root run. */
export const buildRunId = (tenant: TenantId, ulid: string): RunId => build('run', tenant, ulid);
/** undefined when the text is not a run id. */
export const parseRunId = (text: unknown) => parse('run', text);
export const buildApprovalId = (tenant: TenantId, ulid: string): ApprovalId =>
  build('approval', tenant, ulid);
export const parseApprovalId = (text: unknown) => parse('approval', text);
export const buildGrantId = (tenant: TenantId, ulid: string): GrantId => build('grant', tenant, ulid);
export const buildInvitationId = (tenant: TenantId, ulid: string): InvitationId =>
  build('invitation', tenant, ulid);
export const parseInvitationId = (text: unknown) => parse('invitation', text);
export const parseGrantId = (text: unknown) => parse('grant', text);
export const buildStopId = (tenant: TenantId, ulid: string): StopId => build('stop', tenant, ulid);
export const parseStopId = (text: unknown) => parse('stop', text);
export const buildRevocationId = (tenant: TenantId, ulid: string): RevocationId =>
  build('revocation', tenant, ulid);
export const buildImportId = (tenant: TenantId, ulid: string): ImportId => build('import', tenant, ulid);
export const parseRevocationId = (text: unknown) => parse('revocation', text);

/** The root run of a workflow id: children are `<parent>/<segment>.<k>`. undefined when it is not one of ours. */
export function runIdOfWorkflow(workflowId: string): RunId | undefined {
  const root = workflowId.split('/')[0];
  return parse('run', root) ? (root as RunId) : undefined;
}
