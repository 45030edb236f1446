import { checkInteger } from '../base/errors.ts';
import { descriptorOf, type Op, type Target } from '../operation/op.ts';

/** Sets the second file of an op, the one that it takes from (`splice_fd_in`): it stays open until the op has ended. */
export function takingFrom<T>(op: Op<T>, source: Target): Op<T> {
  if (typeof source === 'number') {
    checkInteger('from', source, 0, 0x7fff_ffff);
    op.file = source;
    return op;
  }
  const descriptor = descriptorOf(source);
  op.file = descriptor.fd;
  // A handle that is both holds the op once.
  if (descriptor !== op.descriptor) op.also = descriptor;
  return op;
}
