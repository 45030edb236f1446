/**
 * The door for packages that define ops: everything between an SQE and a future. Programs use `@ouro/runtime`.
 */

export {
  AbortError,
  cancellation,
  checkInteger,
  closedError,
  describe,
  type ErrorDetail,
  Expired,
  expired,
  invalidType,
  outOfRange,
  type SystemError,
  systemError,
  type TimeoutError,
} from './base/errors.ts';
export { CURRENT, checkPosition, type Position } from './base/position.ts';
export { asBytes, type Bytes, lengthOf } from './base/view.ts';
export { BufferGroup } from './buffers/buffer-group.ts';
export {
  BufferRing,
  type BufferRingOptions,
  RingLease,
  receiveBuffers,
  supportsIncremental,
} from './buffers/buffer-ring.ts';
export { close, closeDirect } from './descriptors/close.ts';
export {
  DirectDescriptor,
  directKind,
  FileRegistry,
  files,
  type Into,
  openInto,
} from './descriptors/direct.ts';
export { inspectable } from './descriptors/inspected.ts';
export {
  type Opened,
  OpenedDescriptor,
  type OpenedKind,
  placeOfOpening,
} from './descriptors/opened-descriptor.ts';
export { OrdinaryDescriptor } from './descriptors/ordinary-descriptor.ts';
export { type At, Transfer, type Until } from './descriptors/transfer.ts';
export type { BatchEnd, Reactor } from './engine/reactor.ts';
export {
  type Completion,
  SCRATCH_SIZE,
  type ScratchChunk,
  scratchOffset,
  TIMEOUT_AT,
  WIDE_OPERANDS,
} from './engine/slots.ts';
export { existingReactor, reactor } from './engine/thread.ts';
export { placeTimespec } from './engine/timespec.ts';
export { awaitFast, Deferred, Future, rejected, resolved, type Steps } from './future/future.ts';
export { hold } from './memory/hold.ts';
export { OwnMemory } from './memory/own-memory.ts';
export {
  addressOf,
  Bounce,
  checkBytes,
  fixedIndexOf,
  isPinned,
  isResizable,
  lent,
  NOT_FIXED,
  type Pinned,
  pinned,
  UNSTABLE,
} from './memory/pin.ts';
export { allocateRecycled } from './memory/recycled.ts';
export { copied, copySmall, isSmall, snapshot } from './memory/small-copy.ts';
export {
  checkAutoClose,
  sizeOfChunk,
  type WritableChunk,
} from './memory/web-chunk.ts';
export { HandleSink } from './memory/web-sink.ts';
export { takingFrom } from './op/two-files.ts';
export { type Attached, Descriptor, type Listed } from './operation/descriptor.ts';
export { insist } from './operation/insist.ts';
export { nop, nopOp } from './operation/nop.ts';
export { descriptorOf, nothing, Op, type OpKind, opKind, type Target } from './operation/op.ts';
export {
  limitsOf,
  NO_OPTIONS,
  NO_TIMEOUT,
  type OpOptions,
  refusal,
  timeoutOf,
} from './operation/op-options.ts';
export { begin, gaveUp, Operation } from './operation/operation.ts';
export { END_OF_STREAM, NO_RESULT, Stream, type StreamOptions, stream } from './operation/stream.ts';
export { submit } from './operation/submit.ts';
export { bound, expire, flow } from './time/time.ts';
