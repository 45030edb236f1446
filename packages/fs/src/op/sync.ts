import { IORING_FSYNC_DATASYNC, IORING_OP_FSYNC } from '@ouro/native/abi';
import { Operation, type OpKind, reactor, submit } from '@ouro/runtime/driver';

const kind = (syscall: string): OpKind<void> => ({
  syscall,
  resultIsFd: false,
  decode: () => undefined,
  error: null,
  endsWithHandle: false,
});
const FSYNC = kind('fsync');
const FDATASYNC = kind('fdatasync');

/** `fsync(2)` or `fdatasync(2)` (5.1). Not ordered with other ops in flight: await the writes first. */
export function sync(fd: number, dataOnly: boolean): Operation<void> {
  const r = reactor();
  const op = new Operation<void>(dataOnly ? FDATASYNC : FSYNC, null, null);
  return submit(op, r.take(op), IORING_OP_FSYNC, fd, 0, 0, 0, dataOnly ? IORING_FSYNC_DATASYNC : 0);
}
