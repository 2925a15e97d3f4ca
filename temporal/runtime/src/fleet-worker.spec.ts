import { Worker } from '@temporalio/worker';
import { expect, it } from 'vitest';
import manifest from '@temporalio/worker/package.json' with { type: 'json' };
import { FleetWorker } from './fleet-worker.js';

it('the SDK still has the hooks that share bundle and threads and screen payloads, in the version that was tried', () => {
  expect(manifest.version).toBe('1.23.0');
  for (const hook of ['getOrCreateBundle', 'createWorkflowCreator']) {
    expect(Object.hasOwn(Worker, hook), `Worker.${hook} is gone: sharing would silently end`).toBe(true);
    expect(Object.hasOwn(FleetWorker, hook)).toBe(true);
  }
  for (const hook of ['handleActivation', 'pollLoop$']) {
    expect(
      Object.hasOwn(Worker.prototype, hook),
      `Worker.${hook} is gone: screening would silently end`,
    ).toBe(true);
    expect(Object.hasOwn(FleetWorker.prototype, hook)).toBe(true);
  }
  // create() reaches the hooks through `this`, or the subclass would be ignored
  expect(Worker.create.toString()).toMatch(/this\.getOrCreateBundle[\s\S]*this\.createWorkflowCreator/);
});
