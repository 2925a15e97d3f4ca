export { createDispatcher } from './control/dispatcher.js';
export type { Dispatcher } from './control/dispatcher.js';
export { createCloseWatcher } from './control/close-watcher.js';
export type { CloseWatcher } from './control/close-watcher.js';
export type { ControlLog, RunEnd, RunRef, RunsInTemporal, RunStart } from './control/temporal-port.js';
