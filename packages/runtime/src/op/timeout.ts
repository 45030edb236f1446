import {
  ETIME,
  IORING_OP_TIMEOUT,
  IORING_OP_TIMEOUT_REMOVE,
  IORING_TIMEOUT_ABS,
  IORING_TIMEOUT_BOOTTIME,
  IORING_TIMEOUT_ETIME_SUCCESS,
  IORING_TIMEOUT_MULTISHOT,
  IORING_TIMEOUT_REALTIME,
  IORING_TIMEOUT_UPDATE,
} from '@ouro/native/abi';
import { checkInteger, invalidType, outOfRange } from '../base/errors.ts';
import { reactor } from '../engine/thread.ts';
import { placeTimespec } from '../engine/timespec.ts';
import { nothing, Op, opKind } from '../operation/op.ts';
import { checkMs } from '../operation/op-options.ts';
import { BEHIND_OPERANDS, type InFlight, NamingOp } from './in-flight.ts';

/** What a timeout is measured by. The boot-time clock goes on while the machine is suspended. */
export type Clock = 'monotonic' | 'boottime' | 'realtime';

/** What `timeout` takes. */
export interface TimeoutOpOptions {
  /** @default 'monotonic' */
  readonly clock?: Clock | undefined;
  /** Whether the time is one of the clock's (milliseconds since its zero) and not from now. @default false */
  readonly absolute?: boolean | undefined;
  /**
   * Ends as well when so many ops queued behind it have completed, the runtime's own included, other timeouts not.
   * @default 0, none
   */
  readonly count?: number | undefined;
  /** For `stream`: again and again (6.4, `IORING_TIMEOUT_MULTISHOT`). @default false */
  readonly repeat?: boolean | undefined;
}

const CLOCK_FLAGS: ReadonlyMap<unknown, number> = new Map([
  ['monotonic', 0],
  ['boottime', IORING_TIMEOUT_BOOTTIME],
  ['realtime', IORING_TIMEOUT_REALTIME],
]);
/** The seconds that fit one word of the timespec. */
const MOST_ABSOLUTE_MS = 0xffff_ffff * 1000;

// Having run its time (ETIME) is a timeout's success.
const TIMEOUT = opKind<void>('timeout', { passes: ETIME, decode: nothing });
const TIMEOUT_UPDATE = opKind<void>('timeout_update', { decode: nothing });
const TIMEOUT_REMOVE = opKind<void>('timeout_remove', { decode: nothing });

function checkTime(ms: number, absolute: boolean): void {
  if (!absolute) checkMs('ms', ms);
  else if (typeof ms !== 'number') throw invalidType('ms', 'of type number', ms);
  else if (!(ms >= 0 && ms <= MOST_ABSOLUTE_MS)) throw outOfRange('ms', `>= 0 && <= ${MOST_ABSOLUTE_MS}`, ms);
}

class TimeoutOp extends Op<void> {
  readonly #ms: number;

  constructor(ms: number, count: number, flags: number) {
    super(TIMEOUT, IORING_OP_TIMEOUT, count, 0, 1, flags);
    this.#ms = ms;
  }

  override place(slot: number): void {
    this.addr = placeTimespec(reactor(), slot, this.#ms);
  }
}

/**
 * A timer of the kernel (5.4; boot-time and real-time clocks 5.15). Resolves when the time has come, or when `count` ops have
 * completed. `sleep` is the same with less to choose.
 *
 * @param ms milliseconds, fractions count; nanoseconds are the finest, of a time of the real-time clock about 250
 * @throws TypeError, RangeError for bad arguments
 * @see io_uring_prep_timeout(3)
 */
export function timeout(ms: number, options: TimeoutOpOptions = {}): Op<void> {
  const { clock = 'monotonic', absolute = false, count = 0, repeat = false } = options;
  checkTime(ms, absolute);
  checkInteger('options.count', count, 0, 0x7fff_ffff);
  const flags = CLOCK_FLAGS.get(clock);
  if (flags === undefined) throw outOfRange('options.clock', "'monotonic', 'boottime' or 'realtime'", clock);
  if (repeat && (absolute || count > 0)) {
    throw outOfRange('options.repeat', 'false where there is a count or an absolute time', repeat);
  }
  // ETIME_SUCCESS (5.16): in a chain the next op begins then.
  return new TimeoutOp(
    ms,
    count,
    flags |
      IORING_TIMEOUT_ETIME_SUCCESS |
      (absolute ? IORING_TIMEOUT_ABS : 0) |
      (repeat ? IORING_TIMEOUT_MULTISHOT : 0),
  );
}

class TimeoutUpdate extends NamingOp<void> {
  readonly #ms: number;

  constructor(target: InFlight, ms: number, absolute: boolean) {
    const flags = IORING_TIMEOUT_UPDATE | (absolute ? IORING_TIMEOUT_ABS : 0);
    super(TIMEOUT_UPDATE, IORING_OP_TIMEOUT_REMOVE, target, 0, flags);
    this.#ms = ms;
  }

  override place(slot: number): void {
    this.placeNamed(slot, placeTimespec(reactor(), slot, this.#ms, BEHIND_OPERANDS));
  }
}

/**
 * Gives a timeout in flight another time (5.11), from now on or of its clock, which stays the same.
 *
 * Fails with ENOENT if it is no timeout or has run out, with EALREADY if it is just running out.
 * @throws TypeError, RangeError for bad arguments; `ERR_INVALID_STATE` if the target is not in flight
 * @see io_uring_prep_timeout_update(3)
 */
export function timeoutUpdate(
  target: InFlight,
  ms: number,
  { absolute = false }: Pick<TimeoutOpOptions, 'absolute'> = {},
): Op<void> {
  checkTime(ms, absolute);
  return new TimeoutUpdate(target, ms, absolute);
}

/**
 * Ends a timeout in flight (5.5): its future rejects with ECANCELED.
 *
 * Fails with ENOENT if it is no timeout or has run out, with EALREADY if it is just running out.
 * @throws TypeError for a target of another type; `ERR_INVALID_STATE` if it is not in flight
 * @see io_uring_prep_timeout_remove(3)
 */
export function timeoutRemove(target: InFlight): Op<void> {
  return new NamingOp(TIMEOUT_REMOVE, IORING_OP_TIMEOUT_REMOVE, target);
}
