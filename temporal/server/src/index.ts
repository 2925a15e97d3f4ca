export { NoTemporalServer, resolveServer } from './resolve.js';
export type { ResolveOptions, ServerBinaries } from './resolve.js';
export { startTemporal, TemporalStartFailed } from './launch.js';
export type { RunningTemporal, TemporalOptions, TemporalPostgres } from './launch.js';
export { Child, ChildFailed } from './child.js';
export type { ChildOptions } from './child.js';
export { AlreadyRunning, endLeftovers } from './leftovers.js';
