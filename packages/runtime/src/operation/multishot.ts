import {
  IORING_ACCEPT_MULTISHOT,
  IORING_OP_ACCEPT,
  IORING_OP_POLL_ADD,
  IORING_OP_READ_MULTISHOT,
  IORING_OP_RECV,
  IORING_OP_RECV_ZC,
  IORING_OP_RECVMSG,
  IORING_OP_TIMEOUT,
  IORING_POLL_ADD_MULTI,
  IORING_RECV_MULTISHOT,
  IORING_TIMEOUT_MULTISHOT,
} from '@ouro/native/abi';
import { invalidType } from '../base/errors.ts';
import { Op } from './op.ts';

/** Opcodes that can complete more than once: one look tells the others apart, which are nearly all. */
const CAN = new Uint8Array(256);
for (const opcode of [
  IORING_OP_ACCEPT,
  IORING_OP_POLL_ADD,
  IORING_OP_READ_MULTISHOT,
  IORING_OP_RECV,
  IORING_OP_RECV_ZC,
  IORING_OP_RECVMSG,
  IORING_OP_TIMEOUT,
]) {
  CAN[opcode] = 1;
}

/** Whether an op completes again and again. Read from the SQE itself, so that it holds for ops of anybody's making. */
function multishot(op: Op<unknown>): boolean {
  switch (op.opcode) {
    case IORING_OP_ACCEPT:
      return (op.ioprio & IORING_ACCEPT_MULTISHOT) !== 0;
    case IORING_OP_POLL_ADD:
      return (op.len & IORING_POLL_ADD_MULTI) !== 0;
    case IORING_OP_RECV:
    case IORING_OP_RECVMSG:
      return (op.ioprio & IORING_RECV_MULTISHOT) !== 0;
    case IORING_OP_TIMEOUT:
      return (op.opFlags & IORING_TIMEOUT_MULTISHOT) !== 0;
    default:
      return true;
  }
}

/**
 * Checks that something is an op, and one that completes once: what waits for one result would never end with another.
 * @throws TypeError otherwise
 */
export function checkOnce<T>(name: string, op: Op<T>): asserts op is Op<T> {
  if (!(op instanceof Op)) throw invalidType(name, 'an instance of Op', op);
  if (CAN[op.head & 0xff] === 0 || !multishot(op)) return;
  const message = `The "${name}" argument (${(op as Op<T>).kind.syscall}) completes more than once: use stream()`;
  throw Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_VALUE' });
}
