export { createDispatcher } from './control/dispatcher.js';
export type { Dispatcher } from './control/dispatcher.js';
export { createCloseWatcher } from './control/close-watcher.js';
export type { CloseWatcher } from './control/close-watcher.js';
export type { ResetPoint } from './run-requests.js';
export type {
  ControlLog,
  RunControlInTemporal,
  RunEnd,
  RunRef,
  RunsInTemporal,
  RunStart,
} from './control/temporal-port.js';
