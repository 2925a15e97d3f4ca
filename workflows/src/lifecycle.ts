import { condition, defineSignal, proxyActivities, setHandler } from '@temporalio/workflow';
import { AFTER_GRACE, LIFECYCLE_SIGNAL, LIFECYCLE_STEPS } from '@bulkhead/contract';
import type { LifecycleActivities, LifecycleStart, LifecycleStep, StepAnswer } from '@bulkhead/contract';

/**
 * The platform's own workflow, in a bundle, namespace and Worker of its own. A step is repeated until it is done: a
 * tenant is never left half way because something was away.
 */
const { lifecycleStep } = proxyActivities<LifecycleActivities>({
  startToCloseTimeout: '5 minutes',
  // how long a step waits for another process when the one that did it died
  heartbeatTimeout: '5 seconds',
  retry: { initialInterval: '300ms', backoffCoefficient: 2, maximumInterval: '20s' },
});

const reinstated = defineSignal(LIFECYCLE_SIGNAL);

export async function tenantLifecycle(start: LifecycleStart): Promise<void> {
  let woken = 0;
  setHandler(reinstated, () => void (woken += 1));
  const all = async (steps: readonly LifecycleStep[]): Promise<StepAnswer> => {
    let last: StepAnswer = {};
    for (const step of steps) last = await lifecycleStep(start, step);
    return last;
  };

  // counted before a step looks, not after it has answered: who takes it back in between is not slept through
  let seen = woken;
  let answer = await all(LIFECYCLE_STEPS[start.kind]);
  if (start.kind !== 'offboard') return;
  while (answer.reinstate !== true && (answer.waitMs ?? 0) > 0) {
    await condition(() => woken > seen, answer.waitMs ?? 0);
    seen = woken;
    answer = await lifecycleStep(start, 'wait-grace');
  }
  // the last moment to take it back: one commit decides, here or there
  const [first, ...others] = AFTER_GRACE.erase;
  if (answer.reinstate !== true) answer = await lifecycleStep(start, first);
  await all(answer.reinstate === true ? AFTER_GRACE.reinstate : others);
}
