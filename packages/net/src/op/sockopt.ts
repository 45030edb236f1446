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

  /** Does it by a system call: zero or the bytes that `value` has been given, or an errno below zero. */
  call(): number {
    if (this.descriptor?.direct === true) return EOPNOTSUPP;
    const { addon } = reactor();
    return this.off === SOCKET_URING_OP_SETSOCKOPT
      ? addon.setsockopt(this.fd, this.level, this.option, this.value)
      : addon.getsockopt(this.fd, this.level, this.option, this.value);
  }

  override elsewhere(): Promise<number> {
    return Promise.resolve(EOPNOTSUPP); // as an older kernel says it: see `call`
  }
}

/** The result of a system call in the place of a command. */
function called(op: Op<unknown>, syscall: string): number {
  const result = (op as SocketCommand<unknown>).call();
  if (result < 0) throw socketError(result, syscall);
  return result;
}

const SETSOCKOPT = opKind<void>('setsockopt', {
  passes: EOPNOTSUPP,
  error: (errno) => socketError(errno, 'setsockopt'),
  decode: (result, op) => {
    if (result < 0) called(op, 'setsockopt');
  },
});

/**
 * `setsockopt(2)` through the ring (`IORING_OP_URING_CMD`, 6.7); on older kernels with a system call, if the socket is no
 * direct descriptor.
 *
 * @param level `SOL_SOCKET`, `IPPROTO_TCP`…
 * @param name `SO_*`, `TCP_*`…
 * @param value an int, or the bytes of a struct, which are copied
 */
export function setsockopt(fd: Target, level: number, name: number, value: number | Bytes): Op<void> {
  checkOption(level, name);
  return new SocketCommand(SETSOCKOPT, SOCKET_URING_OP_SETSOCKOPT, level, name, valueBytes(value)).on(fd);
}

function valueBytes(value: number | Bytes): Buffer {
  if (typeof value === 'number') {
    checkInteger('value', value, -INT_MAX - 1, INT_MAX);
    const int = Buffer.allocUnsafeSlow(INT_BYTES);
    int.writeInt32LE(value);
    return int;
  }
  checkBytes('value', value);
  const source = asBytes(value);
  const bytes = Buffer.allocUnsafeSlow(source.length);
  bytes.set(source);
  return bytes;
}

const GETSOCKOPT = opKind<number>('getsockopt', {
  passes: EOPNOTSUPP,
  error: (errno) => socketError(errno, 'getsockopt'),
  decode: (result, op, slot) => {
    const command = op as SocketCommand<number>;
    if (result >= 0) return command.answer(slot, INT_BYTES).readInt32LE();
    called(op, 'getsockopt');
    return command.value.readInt32LE();
  },
});

const GETSOCKOPT_BYTES = opKind<Buffer>('getsockopt', {
  passes: EOPNOTSUPP,
  error: (errno) => socketError(errno, 'getsockopt'),
  decode: (result, op, slot) => {
    const command = op as SocketCommand<Buffer>;
    if (result >= 0) return command.answer(slot, result);
    return command.value.subarray(0, called(op, 'getsockopt'));
  },
});

/**
 * `getsockopt(2)` through the ring (`IORING_OP_URING_CMD`, 6.7). The kernel does that for `SOL_SOCKET` only; for other levels,
 * and on older kernels, it is a system call, if the socket is no direct descriptor.
 *
 * @param length bytes that there is room for, for options that are a struct: the op then resolves to its bytes
 */
export function getsockopt(fd: Target, level: number, name: number): Op<number>;
export function getsockopt(fd: Target, level: number, name: number, length: number): Op<Buffer>;
export function getsockopt(
  fd: Target,
  level: number,
  name: number,
  length?: number,
): Op<number> | Op<Buffer> {
  checkOption(level, name);
  if (length === undefined) {
    const room = Buffer.alloc(INT_BYTES);
    return new SocketCommand(GETSOCKOPT, SOCKET_URING_OP_GETSOCKOPT, level, name, room).on(fd);
  }
  checkInteger('length', length, 1, INT_MAX);
  const room = Buffer.alloc(length);
  return new SocketCommand(GETSOCKOPT_BYTES, SOCKET_URING_OP_GETSOCKOPT, level, name, room).on(fd);
}

function checkOption(level: number, name: number): void {
  checkInteger('level', level, 0, INT_MAX);
  checkInteger('name', name, 0, INT_MAX);
}

const IOCTL = opKind<number>('ioctl', { error: (errno) => socketError(errno, 'ioctl') });

/** Bytes that have arrived and have not been read (`SIOCINQ`, `IORING_OP_URING_CMD`, 6.7). `EINVAL` for a listening socket. */
export function siocinq(fd: Target): Op<number> {
  return new Op(IOCTL, IORING_OP_URING_CMD, SOCKET_URING_OP_SIOCINQ).on(fd);
}

/** Bytes that have been sent and that the peer has not acknowledged (`SIOCOUTQ`, `IORING_OP_URING_CMD`, 6.7). */
export function siocoutq(fd: Target): Op<number> {
  return new Op(IOCTL, IORING_OP_URING_CMD, SOCKET_URING_OP_SIOCOUTQ).on(fd);
}
