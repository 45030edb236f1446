import {
  EOPNOTSUPP,
  IORING_OP_URING_CMD,
  SOCKET_URING_OP_GETSOCKOPT,
  SOCKET_URING_OP_SETSOCKOPT,
  SOCKET_URING_OP_SIOCINQ,
  SOCKET_URING_OP_SIOCOUTQ,
} from '@ouro/native/abi';
import {
  asBytes,
  type Bytes,
  checkBytes,
  checkInteger,
  Op,
  type OpKind,
  opKind,
  reactor,
  scratchOffset,
  type Target,
  TIMEOUT_AT,
} from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';

const INT_MAX = 0x7fff_ffff;
const INT_BYTES = 4;

/**
 * A command to a socket (6.7). Older kernels have the op and say EOPNOTSUPP; a system call does for them what it can, and
 * what the command cannot: options other than SOL_SOCKET's can only be read by one.
 */
class SocketCommand<T> extends Op<T> {
  readonly level: number;
  readonly option: number;
  /** The value for the kernel to read, or room for the one that it writes. */
  readonly value: Buffer;

  constructor(kind: OpKind<T>, command: number, level: number, option: number, value: Buffer) {
    // `cmd_op` is the low word of `off`; `level` and `optname` are the two words of `addr`.
    super(kind, IORING_OP_URING_CMD, command, level + option * 2 ** 32);
    this.level = level;
    this.option = option;
    this.value = value;
    this.file = value.length;
  }

  /** The value lies in the slot's scratch; one that is too long for that where it is, and no script sees it. */
  override place(slot: number): void {
    const r = reactor();
    if (this.value.length > TIMEOUT_AT) {
      this.addr3 = r.addon.addressOf(this.value);
    } else {
      r.scratch(slot).bytes.set(this.value, scratchOffset(slot));
      this.addr3 = r.scratchAddress(slot);
    }
  }

  /** What the kernel wrote. To be asked while the slot is still the op's. */
  answer(slot: number, length: number): Buffer {
    if (this.value.length <= TIMEOUT_AT) {
      this.value.set(reactor().scratch(slot).bytes.subarray(scratchOffset(slot)).subarray(0, length));
    }
    return this.value.subarray(0, length);
  }

  /** Does it by a system call: the option's value, or an errno below zero. */
  call(): number {
    if (this.descriptor?.direct === true || this.value.length !== INT_BYTES) return EOPNOTSUPP;
    const { addon } = reactor();
    return this.off === SOCKET_URING_OP_SETSOCKOPT
      ? addon.setsockopt(this.fd, this.level, this.option, this.value.readInt32LE())
      : addon.getsockopt(this.fd, this.level, this.option);
  }

  override elsewhere(): Promise<number> {
    return Promise.resolve(EOPNOTSUPP); // passes on to `call`
  }
}

/** The result of a system call in the place of a command. */
function called(op: Op<unknown>, syscall: string): number {
  const result = (op as SocketCommand<unknown>).call();
  if (result < 0) throw socketError(result, syscall);
  return result;
}

const SETSOCKOPT = opKind<void>('setsockopt', {
  // Only EOPNOTSUPP looks like this: see `OpKind.passes`. Success of the command is 0 as well, and told apart by nothing,
  // but setting an option twice to the same value changes nothing.
  error: (errno) => socketError(errno, 'setsockopt'),
});
