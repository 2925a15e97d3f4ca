export { createDispatcher } from './dispatcher.js';
export type { Dispatcher } from './dispatcher.js';
export { createCloseWatcher } from './close-watcher.js';
export type { CloseWatcher } from './close-watcher.js';
export type { ControlLog, RunEnd, RunRef, RunsInTemporal, RunStart } from './temporal-port.js';
