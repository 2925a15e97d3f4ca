/**
 * Faults: things that are thrown. `type` of the ApplicationFailure is the code. A fault has a public message, which
 * may leave the process, and an internal one, which is logged with the same id and goes nowhere else.
 */
export type FailureOwner = 'client' | 'platform' | 'upstream' | 'capacity' | 'config' | 'security';

interface FailureSpec {
  readonly owner: FailureOwner;
  /** Whether a second try can succeed without anyone changing anything. */
  readonly retry: boolean;
  /** GraphQL `extensions.code` shown to the caller. */
  readonly publicCode: string;
  readonly publicMessage: string;
}

export const FAILURE_CODES = [
  'BAD_INPUT',
  'UNAUTHENTICATED',
  'FORBIDDEN',
  'TENANT_SUSPENDED',
  'NOT_FOUND',
  'IDEMPOTENCY_CONFLICT',
  'INVALID_STATE',
  'PAYLOAD_TOO_LARGE',
  'QUERY_TOO_COMPLEX',
  'INTROSPECTION_DISABLED',
  'DOCUMENT_NOT_LISTED',
  'UNSUPPORTED_MEDIA_TYPE',
  'METHOD_NOT_ALLOWED',
  'TOO_MANY_SUBSCRIPTIONS',
  'TOO_MANY_REQUESTS',
  'REQUEST_TIMEOUT',
  'ENVELOPE_INVALID',
  'ENVELOPE_MISMATCH',
  'PAYLOAD_REFUSED',
  'HOST_FENCED',
  'EFFECT_HELD',
  'ANSWER_REMOVED',
  'POLICY_UNAVAILABLE',
  'POLICY_MOVING',
  'DATABASE_UNAVAILABLE',
  'TEMPORAL_UNAVAILABLE',
  'IDENTITY_UNAVAILABLE',
  'TEMPORAL_UNPROTECTED',
  'JOURNAL_LAGGING',
  'SECRET_UNAVAILABLE',
  'KEY_UNAVAILABLE',
  'KEY_DESTROYED',
  'WORKER_MISCONFIGURED',
  'INTERNAL',
] as const;
export type FailureCode = (typeof FAILURE_CODES)[number];

const NOT_NOW = 'The platform cannot do this right now. Nothing was lost; try again shortly.';

export const FAILURES = {
  BAD_INPUT: {
    owner: 'client',
    retry: false,
    publicCode: 'BAD_USER_INPUT',
    publicMessage: 'The input is not valid.',
  },
  UNAUTHENTICATED: {
    owner: 'client',
    retry: false,
    publicCode: 'UNAUTHENTICATED',
    publicMessage: 'Send a valid API key or token as "authorization: Bearer <it>".',
  },
  FORBIDDEN: {
    owner: 'client',
    retry: false,
    publicCode: 'FORBIDDEN',
    publicMessage: 'This key may not do that.',
  },
  TENANT_SUSPENDED: {
    owner: 'client',
    retry: false,
    publicCode: 'TENANT_SUSPENDED',
    publicMessage: 'This tenant is suspended. Ask the operator of the platform.',
  },
  NOT_FOUND: {
    owner: 'client',
    retry: false,
    publicCode: 'NOT_FOUND',
    publicMessage: 'There is no such thing, or you may not see it.',
  },
  IDEMPOTENCY_CONFLICT: {
    owner: 'client',
    retry: false,
    publicCode: 'IDEMPOTENCY_CONFLICT',
    publicMessage: 'This idempotency key was used with other arguments.',
  },
  INVALID_STATE: {
    owner: 'client',
    retry: false,
    publicCode: 'INVALID_STATE',
    publicMessage: 'This was already decided or has ended.',
  },
  PAYLOAD_TOO_LARGE: {
    owner: 'client',
    retry: false,
    publicCode: 'PAYLOAD_TOO_LARGE',
    publicMessage: 'The input is too large.',
  },
  QUERY_TOO_COMPLEX: {
    owner: 'client',
    retry: false,
    publicCode: 'QUERY_TOO_COMPLEX',
    publicMessage: 'The document asks for too much at once.',
  },
  INTROSPECTION_DISABLED: {
    owner: 'client',
    retry: false,
    publicCode: 'INTROSPECTION_DISABLED',
    publicMessage: 'This installation does not tell its schema; schema.gql in the sources has it.',
  },
  DOCUMENT_NOT_LISTED: {
    owner: 'client',
    retry: false,
    publicCode: 'DOCUMENT_NOT_LISTED',
    publicMessage: 'This installation answers the documents on its list only.',
  },
  UNSUPPORTED_MEDIA_TYPE: {
    owner: 'client',
    retry: false,
    publicCode: 'UNSUPPORTED_MEDIA_TYPE',
    publicMessage: 'Send the request as "content-type: application/json".',
  },
  METHOD_NOT_ALLOWED: {
    owner: 'client',
    retry: false,
    publicCode: 'METHOD_NOT_ALLOWED',
    publicMessage: 'Send queries and mutations by POST, subscriptions over a websocket.',
  },
  TOO_MANY_SUBSCRIPTIONS: {
    owner: 'client',
    retry: true,
    publicCode: 'TOO_MANY_SUBSCRIPTIONS',
    publicMessage: 'Too many subscriptions or connections are open at once.',
  },
  TOO_MANY_REQUESTS: {
    owner: 'client',
    retry: true,
    publicCode: 'TOO_MANY_REQUESTS',
    publicMessage: 'You ask too often.',
  },
  REQUEST_TIMEOUT: {
    owner: 'capacity',
    retry: true,
    publicCode: 'TIMEOUT',
    publicMessage: 'The answer took too long. What was asked for may still happen.',
  },
  ENVELOPE_INVALID: {
    owner: 'security',
    retry: false,
    publicCode: 'REFUSED',
    publicMessage: 'The run could not prove whom it works for.',
  },
  ENVELOPE_MISMATCH: {
    owner: 'security',
    retry: false,
    publicCode: 'REFUSED',
    publicMessage: 'The run does not belong where it was executed.',
  },
  PAYLOAD_REFUSED: {
    owner: 'security',
    retry: false,
    publicCode: 'REFUSED',
    publicMessage: "A value of the run was not sealed with the tenant's own key.",
  },
  HOST_FENCED: { owner: 'platform', retry: true, publicCode: 'UNAVAILABLE', publicMessage: NOT_NOW },
  EFFECT_HELD: { owner: 'platform', retry: true, publicCode: 'UNAVAILABLE', publicMessage: NOT_NOW },
  ANSWER_REMOVED: {
    owner: 'client',
    retry: false,
    publicCode: 'GONE',
    publicMessage:
      'This call was made earlier, and its answer was removed as the policy says. It is not made again; start a new run.',
  },
  POLICY_UNAVAILABLE: { owner: 'platform', retry: true, publicCode: 'UNAVAILABLE', publicMessage: NOT_NOW },
  POLICY_MOVING: { owner: 'platform', retry: true, publicCode: 'UNAVAILABLE', publicMessage: NOT_NOW },
  DATABASE_UNAVAILABLE: { owner: 'platform', retry: true, publicCode: 'UNAVAILABLE', publicMessage: NOT_NOW },
  TEMPORAL_UNAVAILABLE: { owner: 'platform', retry: true, publicCode: 'UNAVAILABLE', publicMessage: NOT_NOW },
  TEMPORAL_UNPROTECTED: {
    owner: 'config',
    retry: false,
    publicCode: 'UNAVAILABLE',
    publicMessage: NOT_NOW,
  },
  IDENTITY_UNAVAILABLE: { owner: 'upstream', retry: true, publicCode: 'UNAVAILABLE', publicMessage: NOT_NOW },
  JOURNAL_LAGGING: { owner: 'capacity', retry: true, publicCode: 'UNAVAILABLE', publicMessage: NOT_NOW },
  SECRET_UNAVAILABLE: { owner: 'platform', retry: true, publicCode: 'UNAVAILABLE', publicMessage: NOT_NOW },
  KEY_UNAVAILABLE: {
    owner: 'config',
    retry: true,
    publicCode: 'UNAVAILABLE',
    publicMessage:
      "The tenant's key cannot be used right now. Nothing was lost; work goes on when it is back.",
  },
  KEY_DESTROYED: {
    owner: 'platform',
    retry: false,
    publicCode: 'GONE',
    publicMessage: "The tenant's keys were destroyed: what they sealed cannot be read by anyone any more.",
  },
  WORKER_MISCONFIGURED: {
    owner: 'config',
    retry: false,
    publicCode: 'INTERNAL',
    publicMessage: 'The platform is not set up correctly.',
  },
  INTERNAL: {
    owner: 'platform',
    retry: false,
    publicCode: 'INTERNAL',
    publicMessage: 'Something went wrong on our side.',
  },
} as const satisfies Record<FailureCode, FailureSpec>;

/** Facts for the caller beside the message, for example a limit and what was found; they leave the process. */
export type FailureDetails = Readonly<Record<string, string | number>>;

/** A typed fault. `internal` and `cause` stay in the process; `field` names the input at fault, when one is. */
export class BulkheadError extends Error {
  override readonly name = 'BulkheadError';
  readonly publicMessage: string;
  constructor(
    readonly code: FailureCode,
    options: {
      publicMessage?: string;
      internal?: string;
      field?: string;
      cause?: unknown;
      details?: FailureDetails;
    } = {},
  ) {
    super(options.internal ?? options.publicMessage ?? FAILURES[code].publicMessage, {
      cause: options.cause,
    });
    this.publicMessage = options.publicMessage ?? FAILURES[code].publicMessage;
    this.field = options.field;
    this.details = options.details;
  }
  readonly field: string | undefined;
  readonly details: FailureDetails | undefined;
}
