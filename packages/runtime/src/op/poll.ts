import {
  IORING_OP_POLL_ADD,
  IORING_OP_POLL_REMOVE,
  IORING_POLL_ADD_MULTI,
  IORING_POLL_UPDATE_EVENTS,
} from '@ouro/native/abi';
import { checkInteger } from '../base/errors.ts';
import { nothing, Op, opKind, type Target } from '../operation/op.ts';
import { type InFlight, NamingOp } from './in-flight.ts';

/** What `pollAdd` takes. */
export interface PollOptions {
  /**
   * For `stream`: each time that something has come up (5.13, `IORING_POLL_ADD_MULTI`). What stays as it is is told once: for
   * more, poll again. (`IORING_POLL_ADD_LEVEL` has a name, and no kernel up to 6.18 that takes it.) @default false
   */
  readonly multishot?: boolean | undefined;
}

const POLL = opKind<number>('poll', { endsWithHandle: true });
const POLL_UPDATE = opKind<void>('poll_update', { decode: nothing });
const POLL_REMOVE = opKind<void>('poll_remove', { decode: nothing });

function checkEvents(events: number): void {
  checkInteger('events', events, 0, 0xffff_ffff);
}

/**
 * Waits until a descriptor is ready (5.1): `poll(2)`, without the loop. Resolves to what is so of `events`, with `POLLERR` and
 * `POLLHUP`, which need not be asked for.
 *
 * Fails with EBADF. A file that cannot be polled is always ready.
 *
 * @param events `POLL*` bits
 * @throws TypeError, RangeError for bad arguments
 * @see io_uring_prep_poll_add(3)
 */
export function pollAdd(fd: Target, events: number, { multishot = false }: PollOptions = {}): Op<number> {
  checkEvents(events);
  return new Op(POLL, IORING_OP_POLL_ADD, 0, 0, multishot ? IORING_POLL_ADD_MULTI : 0, events).on(fd);
}

/**
 * Has a poll in flight wait for other events (5.13).
 *
 * Fails with ENOENT if it is no poll or has ended, with EALREADY if it is just ending.
 * @throws TypeError, RangeError for bad arguments; `ERR_INVALID_STATE` if the target is not in flight
 * @see io_uring_prep_poll_update(3)
 */
export function pollUpdate(target: InFlight, events: number): Op<void> {
  checkEvents(events);
  return new NamingOp(POLL_UPDATE, IORING_OP_POLL_REMOVE, target, IORING_POLL_UPDATE_EVENTS, events);
}

/**
 * Ends a poll in flight (5.1): its future, or whoever waits for its stream, gets ECANCELED.
 *
 * Fails with ENOENT if it is no poll or has ended, with EALREADY if it is just ending.
 * @throws TypeError for a target of another type; `ERR_INVALID_STATE` if it is not in flight
 * @see io_uring_prep_poll_remove(3)
 */
export function pollRemove(target: InFlight): Op<void> {
  return new NamingOp(POLL_REMOVE, IORING_OP_POLL_REMOVE, target);
}
