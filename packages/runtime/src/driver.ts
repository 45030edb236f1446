/**
 * The door for packages that define ops: everything between an SQE and a future. Programs use `@ouro/runtime`.
 */
export { BufferGroup } from './buffer-group.ts';
export {
  BufferRing,
  type BufferRingOptions,
  RingLease,
  receiveBuffers,
  supportsIncremental,
} from './buffer-ring.ts';
export { close, closeDirect } from './close.ts';
export { type Attached, Descriptor, type Listed } from './descriptor.ts';
export { DirectDescriptor, directKind, FileRegistry, files, type Into, openInto } from './direct.ts';
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
} from './errors.ts';
export { awaitFast, Deferred, Future, rejected, resolved, type Steps } from './future.ts';
export { hold } from './hold.ts';
export { insist } from './insist.ts';
export { inspectable } from './inspected.ts';
export { nop, nopOp } from './nop.ts';
export { takingFrom } from './op/two-files.ts';
export { descriptorOf, nothing, Op, type OpKind, opKind, type Target } from './op.ts';
export { limitsOf, NO_OPTIONS, NO_TIMEOUT, type OpOptions, refusal, timeoutOf } from './op-options.ts';
export { type Opened, OpenedDescriptor, type OpenedKind, placeOfOpening } from './opened-descriptor.ts';
export { begin, gaveUp, Operation } from './operation.ts';
export { OrdinaryDescriptor } from './ordinary-descriptor.ts';
export { OwnMemory } from './own-memory.ts';
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
} from './pin.ts';
export { CURRENT, checkPosition, type Position } from './position.ts';
export type { BatchEnd, Reactor } from './reactor.ts';
export { allocateRecycled } from './recycled.ts';
export {
  type Completion,
  SCRATCH_SIZE,
  type ScratchChunk,
  scratchOffset,
  TIMEOUT_AT,
  WIDE_OPERANDS,
} from './slots.ts';
export { copied, copySmall, isSmall, snapshot } from './small-copy.ts';
export { END_OF_STREAM, NO_RESULT, Stream, type StreamOptions, stream } from './stream.ts';
export { submit } from './submit.ts';
export { existingReactor, reactor } from './thread.ts';
export { bound, expire, flow } from './time.ts';
export { placeTimespec } from './timespec.ts';
export { type At, Transfer, type Until } from './transfer.ts';
export { asBytes, type Bytes, lengthOf } from './view.ts';
export {
  checkAutoClose,
  sizeOfChunk,
  type WritableChunk,
} from './web-chunk.ts';
export { HandleSink } from './web-sink.ts';
