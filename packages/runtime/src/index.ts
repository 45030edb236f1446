export { type BatchOptions, batch, type Settled, type Values } from './batch.ts';
export { BufferPool, type BufferPoolOptions, Lease } from './buffer-pool.ts';
export { BufferRing, type BufferRingOptions } from './buffer-ring.ts';
export {
  type Capabilities,
  capabilities,
  type NoCapabilities,
  type Offer,
  type PollCapabilities,
  type RingCapabilities,
  type SeccompVerdict,
  type Surroundings,
  UringUnavailableError,
} from './capabilities.ts';
export { ChainError, chain, Link, type LinkOptions, link, type Results } from './chain.ts';
export type { OpMetrics } from './counts.ts';
export { DirectDescriptor, FileRegistry, files, type Into } from './direct.ts';
export type { Fallback } from './engine.ts';
export { AbortError, type SystemError, type TimeoutError } from './errors.ts';
export { Future } from './future.ts';
export { Inbox, type InboxAddress, type InboxOptions } from './inbox.ts';
export { Interval, type IntervalOptions, interval } from './interval.ts';
export { latencies, measureLatency } from './latency.ts';
export type { Machine } from './machine.ts';
export { type Metrics, metrics } from './metrics.ts';
export { Op, type OpKind, opKind, type Target } from './op.ts';
export type { OpOptions } from './op-options.ts';
export type { Driver, RunOptions } from './options.ts';
export { default } from './runtime.ts';
export { Scope, type ScopeOptions } from './scope.ts';
export { type Branches, type First, race, type Selected, select, timeout } from './select.ts';
export { Stream, type StreamOptions, stream } from './stream.ts';
export { submit } from './submit.ts';
export { run, type SpawnOptions, spawn, Task, type TaskState } from './task.ts';
export { TaskGroup } from './task-group.ts';
export { type SleepOptions, sleep } from './time.ts';
export { type TracedOp, trace } from './tracing.ts';
export type { KernelTraits, Missing, Trait, Traits } from './traits.ts';
export { type Utilization, utilization } from './utilization.ts';
