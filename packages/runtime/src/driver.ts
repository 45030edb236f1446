/**
 * The door for packages that define ops: everything between an SQE and a future. Programs use `@ouro/runtime`.
 */
export { BufferGroup } from './buffer-group.ts';
export { BufferRing, type BufferRingOptions, RingLease, receiveBuffers } from './buffer-ring.ts';
export { close, closeDirect } from './close.ts';
export { Descriptor } from './descriptor.ts';
export { DirectDescriptor, directKind, FileRegistry, files, type Into, openInto } from './direct.ts';
export {
  AbortError,
  cancellation,
  checkInteger,
  closedError,
  describe,
  type ErrorDetail,
  Expired,
  invalidType,
  outOfRange,
  type SystemError,
  systemError,
  type TimeoutError,
} from './errors.ts';
export { awaitFast, Deferred, Future, rejected, resolved, type Steps } from './future.ts';
export { nop, nopOp } from './nop.ts';
export { descriptorOf, nothing, Op, type OpKind, opKind, type Target } from './op.ts';
export { NO_TIMEOUT, type OpOptions, refusal, timeoutOf } from './op-options.ts';
export { begin, gaveUp, Operation } from './operation.ts';
export { OrdinaryDescriptor } from './ordinary-descriptor.ts';
export {
  addressOf,
  Bounce,
  checkBytes,
  fixedIndexOf,
  NOT_FIXED,
  type Pinned,
  pinned,
  UNSTABLE,
} from './pin.ts';
export { type BatchEnd, existingReactor, type Reactor, reactor } from './reactor.ts';
export {
  type Completion,
  SCRATCH_SIZE,
  type ScratchChunk,
  scratchOffset,
  TIMEOUT_AT,
  WIDE_OPERANDS,
} from './slots.ts';
export { END_OF_STREAM, NO_RESULT, Stream, type StreamOptions, stream } from './stream.ts';
export { submit } from './submit.ts';
export { bound, expire, flow } from './time.ts';
export { placeTimespec } from './timespec.ts';
export { type At, Transfer, type Until } from './transfer.ts';
export { asBytes, type Bytes, lengthOf } from './view.ts';
