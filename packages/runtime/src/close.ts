import { IORING_OP_CLOSE } from '@ouro/native/abi';
import { awaitFast, type Future } from './future.ts';
import { Operation, type OpKind, submit } from './operation.ts';
import { reactor } from './reactor.ts';

const CLOSE: OpKind<void> = {
  syscall: 'close',
  resultIsFd: false,
  decode: () => undefined,
  error: null,
  endsWithHandle: false,
};

/** Cannot be cancelled: the descriptor is nobody's any more. */
class Close extends Operation<void> {
  override cancel(): void {}
}
awaitFast(Close);

/**
 * Closes a descriptor after every SQE that is already queued: none of them can hit a number given out anew.
 *
 * @remarks `close(2)`; the descriptor is gone even where this fails (EIO, EINTR), so it must not be tried again.
 */
export function close(fd: number): Future<void> {
  const r = reactor();
  const op = new Close(CLOSE, null, null);
  const slot = r.take(op);
  r.closes(slot);
  return submit(op, slot, IORING_OP_CLOSE, fd, 0, 0, 0);
}
