/**
 * The door for packages that define ops: everything between an SQE and a future. Programs use `@ouro/runtime`.
 */
export { BufferRing, receiveBuffers } from './buffer-ring.ts';
export { close } from './close.ts';
export {
  AbortError,
  checkInteger,
  closedError,
  describe,
  type ErrorDetail,
  invalidType,
  outOfRange,
  type SystemError,
  systemError,
} from './errors.ts';
export {
  awaitFast,
  checkSignal,
  Deferred,
  Future,
  flow,
  follow,
  type OpOptions,
  rejected,
  resolved,
  type Steps,
} from './future.ts';
export { nop } from './nop.ts';
export {
  bound,
  gaveUp,
  InFlight,
  Operation,
  type OpKind,
  type OpState,
  refusal,
  submit,
} from './operation.ts';
export { addressOf, Bounce, checkBytes, UNSTABLE } from './pin.ts';
export { type BatchEnd, existingReactor, type Reactor, reactor } from './reactor.ts';
export { type Completion, SCRATCH_SIZE, type ScratchChunk, scratchOffset } from './slots.ts';
export { SOCKET, Transfer, type Until } from './transfer.ts';
export { asBytes, type Bytes, lengthOf } from './view.ts';
