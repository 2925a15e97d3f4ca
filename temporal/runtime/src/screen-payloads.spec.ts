import { describe, expect, it } from 'vitest';
import { defaultPayloadConverter } from '@temporalio/common';
import type { Payload, PayloadCodec } from '@temporalio/common';
import { BulkheadError, REFUSED_PAYLOAD_HEADER } from '@bulkhead/contract';
import { screenPayloads } from './screen-payloads.js';

const PAYLOAD: Payload = defaultPayloadConverter.toPayload('from outside');
const OWN = { 'bulkhead-envelope': defaultPayloadConverter.toPayload('e') };
const codec = (error?: Error): PayloadCodec => ({
  encode: async (payloads) => payloads,
  decode: async (payloads) => {
    if (error) throw error;
    return payloads;
  },
});
const refusing = codec(new BulkheadError('PAYLOAD_REFUSED'));
const NOTHING = { arguments: [], memo: null, lastCompletionResult: null, continuedFailure: null };
const activation = () => ({
  jobs: [
    { initializeWorkflow: { arguments: [PAYLOAD], headers: { ...OWN } } },
    { initializeWorkflow: { memo: { fields: { a: PAYLOAD } } } },
    { initializeWorkflow: { lastCompletionResult: { payloads: [PAYLOAD] } } },
    { initializeWorkflow: { continuedFailure: { cause: { encodedAttributes: PAYLOAD } } } },
    { signalWorkflow: { input: [PAYLOAD], headers: { ...OWN } } },
    { doUpdate: { input: [PAYLOAD] } },
    { queryWorkflow: { arguments: [PAYLOAD] } },
    { fireTimer: { seq: 1 } },
  ],
});

describe('what was sent to a workflow', () => {
  it('is taken out and marked when the codec refuses it, wherever it was sent to', async () => {
    const given = activation();
    await screenPayloads([codec(), refusing], given);
    const mark = { [REFUSED_PAYLOAD_HEADER]: defaultPayloadConverter.toPayload(true) };
    expect(given.jobs).toEqual([
      { initializeWorkflow: { ...NOTHING, headers: { ...OWN, ...mark } } },
      { initializeWorkflow: { ...NOTHING, headers: mark } },
      { initializeWorkflow: { ...NOTHING, headers: mark } },
      { initializeWorkflow: { ...NOTHING, headers: mark } },
      { signalWorkflow: { input: [], headers: { ...OWN, ...mark } } },
      { doUpdate: { input: [], headers: mark } },
      { queryWorkflow: { arguments: [], headers: mark } },
      { fireTimer: { seq: 1 } },
    ]);
  });

  // a verdict for good about what may be in order would lose a run's own message
  it.each([
    ['the codec opens it', undefined],
    ['the database is away', new BulkheadError('DATABASE_UNAVAILABLE')],
    ['the keys are destroyed', new BulkheadError('KEY_DESTROYED')],
    ['the master key is another one', new BulkheadError('SECRET_UNAVAILABLE')],
    ['of a bug', new TypeError('x')],
  ])('stays as it came when %s', async (_, error) => {
    const given = activation();
    await screenPayloads([codec(error)], given);
    expect(given).toEqual(activation());
  });

  it('is not looked at when there is nothing', async () => {
    const given = { jobs: [{ signalWorkflow: { signalName: 'resume' } }] };
    await screenPayloads([refusing], given);
    expect(given).toEqual({ jobs: [{ signalWorkflow: { signalName: 'resume' } }] });
  });
});

describe('an answer of an activity', () => {
  const IN_PLACE = {
    failed: { failure: { applicationFailureInfo: { type: 'PAYLOAD_REFUSED', nonRetryable: true } } },
  };
  const KIND = { type: 'INTERNAL', nonRetryable: true };
  const SEALED = { encodedAttributes: PAYLOAD };
  const ended = async (result: object, by: PayloadCodec): Promise<object | null | undefined> => {
    const given = { jobs: [{ resolveActivity: { seq: 1, result } }] };
    await screenPayloads([by], given);
    return given.jobs[0]?.resolveActivity.result;
  };
  const inside = (cause: object) => ({
    failed: { failure: { activityFailureInfo: {}, cause } },
  });

  it.each([
    ['a result', { completed: { result: PAYLOAD } }],
    ['a failure', inside({ ...SEALED, applicationFailureInfo: KIND })],
    [
      'details of a failure',
      inside({ ...SEALED, applicationFailureInfo: { ...KIND, details: { payloads: [PAYLOAD] } } }),
    ],
    [
      'what a beat left before the time was up',
      inside({ timeoutFailureInfo: { lastHeartbeatDetails: { payloads: [PAYLOAD] } } }),
    ],
    [
      'the cause of a cause',
      inside({ timeoutFailureInfo: {}, cause: { ...SEALED, applicationFailureInfo: KIND } }),
    ],
  ])('is replaced when the codec refuses it: %s', async (_, result) => {
    expect(await ended(result, refusing)).toMatchObject(IN_PLACE);
    expect(await ended(result, codec(new BulkheadError('DATABASE_UNAVAILABLE')))).toBe(result);
  });

  it('is replaced when there is nothing to open where ours has something', async () => {
    expect(await ended({ completed: {} }, codec())).toMatchObject(IN_PLACE);
    expect(await ended(inside({ applicationFailureInfo: KIND }), codec())).toMatchObject(IN_PLACE);
    const readableBelow = inside({
      ...SEALED,
      applicationFailureInfo: KIND,
      cause: { applicationFailureInfo: KIND },
    });
    expect(await ended(readableBelow, codec())).toMatchObject(IN_PLACE);
  });

  it('stays when the tenant sealed it, and when the server gave it', async () => {
    for (const result of [
      { completed: { result: PAYLOAD } },
      inside({ ...SEALED, applicationFailureInfo: KIND }),
      inside({ message: 'activity Heartbeat timeout', timeoutFailureInfo: { timeoutType: 4 } }),
      { backoff: { attempt: 2 } },
    ])
      expect(await ended(result, codec())).toBe(result);
  });

  it('is cancelled without what came with it', async () => {
    const details = { payloads: [PAYLOAD] };
    const result = { cancelled: { failure: { message: 'x', cause: { canceledFailureInfo: { details } } } } };
    expect(await ended(result, refusing)).toEqual({ cancelled: { failure: { canceledFailureInfo: {} } } });
    expect(await ended(result, codec())).toBe(result);
  });
});
