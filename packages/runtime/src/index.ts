export { type Capabilities, capabilities, UringUnavailableError } from './capabilities.ts';
export { AbortError, type SystemError } from './errors.ts';
export { Future, type OpOptions } from './future.ts';
export { type Metrics, metrics } from './metrics.ts';
export type { RunOptions } from './options.ts';
export { default } from './runtime.ts';
export { run, type SpawnOptions, spawn, Task } from './task.ts';
export { type SleepOptions, sleep } from './time.ts';
