import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Json } from '@bulkhead/contract';
import { findTool, listTools, putTool, setToolEnabled, toolHistory } from '@bulkhead/tool-gateway/admin';
import { openLine } from '../support/line.js';
import type { LineUnderTest } from '../support/line.js';

const BY = { actor: 'key:admin', reason: 'because' };
const inputSchema: Json = {
  type: 'object',
  properties: { id: { type: 'string' } },
  required: ['id'],
  additionalProperties: false,
};
const SPEC = {
  adapter: 'http',
  description: 'Books a room.',
  inputSchema,
  method: 'POST',
  url: 'https://rooms.example/{id}',
  effect: 'write',
  idempotency: 'keyed',
} as const;

describe('the registry of tools', () => {
  let line: LineUnderTest;
  beforeAll(async () => {
    line = await openLine();
  });
  afterAll(() => line.close());

  it('each other declaration is a new version; what a tool was, who changed it and why stays known', async () => {
    const db = line.db('acme');
    expect(await putTool(db, 'rooms.book', SPEC, BY, 'absent')).toEqual({ version: 1, changed: true });
    expect(await putTool(db, 'rooms.book', SPEC, BY)).toEqual({ version: 1, changed: false });
    const costly = { ...SPEC, costMicros: 20_000, dataClasses: ['calendar'], expensive: true };
    const by = { actor: 'key:other', reason: 'rooms cost money' };
    expect(await putTool(db, 'rooms.book', costly, by, 'present')).toEqual({ version: 2, changed: true });
    const history = await toolHistory(db, 'rooms.book');
    expect(history).toMatchObject([
      { version: 2, ...by, spec: { costMicros: 20_000 } },
      { version: 1, ...BY, spec: { costMicros: 0 } },
    ]);
    expect(await findTool(db, 'rooms.book')).toMatchObject({ expensive: true, dataClasses: ['calendar'] });
  });

  it('a version that was is never changed, not even by the tenant door', async () => {
    const change = line.db('acme').run((tx) => tx.toolVersion.updateMany({ data: { actor: 'nobody' } }));
    await expect(change).rejects.toThrow(/denied/);
  });

  it('registering what is there and updating what is not are refused', async () => {
    const db = line.db('acme');
    await expect(putTool(db, 'desk.read', SPEC, BY, 'absent')).rejects.toMatchObject({
      code: 'INVALID_STATE',
    });
    await expect(putTool(db, 'rooms.cancel', SPEC, BY, 'present')).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    await expect(putTool(db, 'no id', SPEC, BY, 'present')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(setToolEnabled(db, 'rooms.cancel', true, BY)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('the history and the tools of another tenant are not there', async () => {
    expect(await toolHistory(line.db('globex'), 'rooms.book')).toEqual([]);
    await expect(findTool(line.db('globex'), 'rooms.book')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('switching off says why, to whoever lists the tools', async () => {
    const db = line.db('acme');
    await setToolEnabled(db, 'rooms.book', false, { actor: 'key:admin', reason: 'double bookings' });
    const off = (await listTools(db)).find(({ id }) => id === 'rooms.book');
    expect(off).toMatchObject({ enabled: false, disabledReason: 'double bookings' });
    await setToolEnabled(db, 'rooms.book', true, BY);
    expect((await findTool(db, 'rooms.book')).disabledReason).toBeUndefined();
  });

  const undo = (compensation: Json, over: object = {}): Json => ({ ...SPEC, ...over, compensation }) as Json;
  it.each([
    ['an unknown tool', undo({ tool: 'rooms.nothing', args: {} }), 'compensation.tool'],
    ['itself', undo({ tool: 'rooms.book', args: {} }), 'compensation.tool'],
    [
      'an argument that is not there',
      undo({ tool: 'desk.update', args: { id: { from: 'args', path: 'room' } } }),
      'compensation.args.id',
    ],
    [
      'what cannot be undone',
      undo({ tool: 'desk.update', args: {} }, { effect: 'irreversible' }),
      'compensation',
    ],
  ])('a compensation with %s is refused', async (_, spec, field) => {
    await expect(putTool(line.db('acme'), 'rooms.book', spec, BY)).rejects.toMatchObject({
      code: 'BAD_INPUT',
      field,
    });
  });

  it('a compensation names the tool that undoes it, and where its arguments come from', async () => {
    const spec = undo({
      tool: 'desk.update',
      args: { id: { from: 'args', path: 'id' }, text: { from: 'answer', path: 'booking.id' } },
    });
    expect(await putTool(line.db('acme'), 'rooms.book', spec, BY)).toMatchObject({ changed: true });
  });
});
