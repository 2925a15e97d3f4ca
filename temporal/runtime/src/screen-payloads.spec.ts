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
const activation = () => ({
  jobs: [
    { initializeWorkflow: { arguments: [PAYLOAD], headers: { ...OWN } } },
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
      { initializeWorkflow: { arguments: [], headers: { ...OWN, ...mark } } },
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
