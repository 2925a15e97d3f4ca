export { createDispatcher } from './control/dispatcher.js';
export type { Dispatcher } from './control/dispatcher.js';
export { createCloseWatcher } from './control/close-watcher.js';
export type { CloseWatcher } from './control/close-watcher.js';
export { createResetSweep } from './control/reset-sweep.js';
export type { ResetPoint } from './run-requests.js';
export type {
  ControlLog,
  RunControlInTemporal,
  RunClose,
  RunEnd,
  RunExecution,
  RunRef,
  RunsInTemporal,
  RunStart,
} from './control/temporal-port.js';
