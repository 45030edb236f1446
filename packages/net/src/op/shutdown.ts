import { IORING_OP_SHUTDOWN } from '@ouro/native/abi';
import { checkInteger, nothing, Op, opKind, type Target } from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';

const SHUTDOWN = opKind<void>('shutdown', {
  decode: nothing,
  error: (errno) => socketError(errno, 'shutdown'),
  endsWithHandle: true,
});

/**
 * `shutdown(2)` (5.11).
 *
 * @param how 0 for receiving, 1 for sending, 2 for both
 */
export function shutdown(fd: Target, how: number): Op<void> {
  checkInteger('how', how, 0, 0x7fff_ffff);
  return new Op(SHUTDOWN, IORING_OP_SHUTDOWN, 0, 0, how).on(fd);
}
