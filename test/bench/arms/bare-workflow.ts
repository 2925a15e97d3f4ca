import { proxyActivities } from '@temporalio/workflow';

/** The same options as the kit gives to the governed call. */
const { bareCall } = proxyActivities<{ bareCall(url: string, body: object): Promise<unknown> }>({
  startToCloseTimeout: '360s',
  heartbeatTimeout: '8s',
  retry: { initialInterval: '250ms', backoffCoefficient: 2, maximumInterval: '5s' },
});

/** One call after the other, as the governed chain does. */
export async function bareChain(url: string, calls: number): Promise<number> {
  for (let part = 1; part <= calls; part += 1) {
    await bareCall(url, { answer: `part ${part} of ${calls}` });
  }
  return calls;
}
