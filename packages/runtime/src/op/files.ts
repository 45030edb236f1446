import {
  IORING_FIXED_FD_NO_CLOEXEC,
  IORING_OP_FILES_UPDATE,
  IORING_REGISTER_FILES_SKIP,
} from '@ouro/native/abi';
import { checkInteger, invalidType } from '../base/errors.ts';
import { DirectDescriptor, files, installOp } from '../descriptors/direct.ts';
import { reactor } from '../engine/thread.ts';
import { descriptorOf, Op, opKind } from '../operation/op.ts';

const FILES_UPDATE = opKind<number>('files_update');

/**
 * Puts ordinary descriptors into places of the table of direct descriptors, one beside the other (5.6), and resolves to how
 * many. What was open in a place is closed there; the descriptors themselves stay open. `files().register` does this for
 * one, with a place of its own.
 *
 * Fails with EBADF if the first is no descriptor (its place is empty then, whatever was there before), EINVAL for places that the table does not have.
 *
 * @param first the first place: yours by `files().allocate()`, as those behind it
 * @param fds descriptors; -1 empties a place, -2 leaves it as it is
 * @throws TypeError, RangeError for bad arguments
 * @see io_uring_prep_files_update(3)
 */
export function filesUpdate(first: DirectDescriptor | number, fds: readonly number[]): Op<number> {
  const place = typeof first === 'number' ? first : directOf('first', first).fd;
  checkInteger('first', place, 0, files().capacity - 1);
  if (!Array.isArray(fds)) throw invalidType('fds', 'an instance of Array', fds);
  const copy = [...fds];
  checkInteger('fds.length', copy.length, 1, files().capacity);
  const memory = Buffer.allocUnsafeSlow(copy.length * 4);
  copy.forEach((fd, at) => {
    checkInteger(`fds[${at}]`, fd, IORING_REGISTER_FILES_SKIP, 0x7fff_ffff);
    memory.writeInt32LE(fd, at * 4);
  });
  const op = new Op(
    FILES_UPDATE,
    IORING_OP_FILES_UPDATE,
    place,
    reactor().addon.addressOf(memory),
    copy.length,
  );
  op.hold = memory;
  // Once it is closed the place is somebody else's.
  if (first instanceof DirectDescriptor) op.opens = first;
  return op;
}

function directOf(name: string, direct: DirectDescriptor): DirectDescriptor {
  if (!descriptorOf(direct).direct) throw invalidType(name, 'a direct descriptor', direct);
  return direct;
}

/** What `fixedFdInstall` takes. */
export interface InstallOptions {
  /** Whether the descriptor is closed in programs that this process starts. @default true */
  readonly cloexec?: boolean | undefined;
}

/**
 * Makes an ordinary descriptor of a direct one (6.8), and resolves to its number. Both are open from then on, and the caller
 * has to close each.
 *
 * Fails with EBADF if nothing is open in that place, EMFILE if the process has no more numbers.
 * @throws TypeError if it is no direct descriptor
 * @see io_uring_prep_fixed_fd_install(3)
 */
export function fixedFdInstall(
  direct: DirectDescriptor,
  { cloexec = true }: InstallOptions = {},
): Op<number> {
  const op = installOp(directOf('direct', direct));
  if (!cloexec) op.opFlags = IORING_FIXED_FD_NO_CLOEXEC;
  return op;
}
