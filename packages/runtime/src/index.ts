export { AbortError, type SystemError, type TimeoutError } from './base/errors.ts';
export type { Machine } from './base/machine.ts';
export type { Driver, RunOptions } from './base/options.ts';
export { BufferPool, type BufferPoolOptions, Lease } from './buffers/buffer-pool.ts';
export { BufferRing, type BufferRingOptions } from './buffers/buffer-ring.ts';
export { DirectDescriptor, FileRegistry, files, type Into } from './descriptors/direct.ts';
export type { OpMetrics } from './engine/counts.ts';
export type { Fallback } from './engine/engine.ts';
export type { KernelTraits, Missing, Trait, Traits } from './engine/traits.ts';
export { Future } from './future/future.ts';
export { Scope, type ScopeOptions } from './future/scope.ts';
export { type BatchOptions, batch, type Settled, type Values } from './groups/batch.ts';
export { ChainError, chain, Link, type LinkOptions, link, type Results } from './groups/chain.ts';
export { Op, type OpKind, opKind, type Target } from './operation/op.ts';
export type { OpOptions } from './operation/op-options.ts';
export { Stream, type StreamOptions, stream } from './operation/stream.ts';
export { submit } from './operation/submit.ts';
export { default } from './runtime.ts';
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
} from './sight/capabilities.ts';
export { latencies, measureLatency } from './sight/latency.ts';
export { type Metrics, metrics } from './sight/metrics.ts';
export { type TracedOp, trace } from './sight/tracing.ts';
export { type Utilization, utilization } from './sight/utilization.ts';
export { Inbox, type InboxAddress, type InboxOptions } from './tasks/inbox.ts';
export { type Branches, type First, race, type Selected, select, timeout } from './tasks/select.ts';
export { run, type SpawnOptions, spawn, Task, type TaskState } from './tasks/task.ts';
export { TaskGroup } from './tasks/task-group.ts';
export { Interval, type IntervalOptions, interval } from './time/interval.ts';
export { type SleepOptions, sleep } from './time/time.ts';
