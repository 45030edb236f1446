import { IORING_OP_TIMEOUT } from '@ouro/native/abi';
import { invalidType, outOfRange } from './errors.ts';
import { awaitFast, type Future, type OpOptions, rejected } from './future.ts';
import { bound, Operation, type OpKind, refusal, submit } from './operation.ts';
import { reactor } from './reactor.ts';
import { scratchOffset } from './slots.ts';

const ETIME = -62;
const NS_PER_MS = 1_000_000;
const NS_PER_S = 1_000_000_000;
/** About 104 days: nanoseconds up to here are exact in a double. */
const MOST_MS = 2 ** 53 / NS_PER_MS;

/** What `sleep` takes. */
export interface SleepOptions extends OpOptions {
  /** Whether the sleep keeps the process alive. @default true */
  readonly ref?: boolean | undefined;
}

// A timeout that has run its time ends with ETIME: that is its success.
const SLEEP: OpKind<void> = {
  syscall: 'timeout',
  resultIsFd: false,
  decode: () => undefined,
  error: null,
  endsWithHandle: false,
};

class Sleep extends Operation<void> {
  override complete(result: number, flags: number): void {
    super.complete(result === ETIME ? 0 : result, flags);
  }
}

awaitFast(Sleep);

/**
 * Resolves after `ms` milliseconds (fractions count), measured by the kernel's monotonic clock through a timeout op
 * of the ring.
 *
 * @throws TypeError, RangeError if `ms` is not a number from 0 to 9007199254
 */
export function sleep(ms: number, options?: SleepOptions): Future<void> {
  if (typeof ms !== 'number') throw invalidType('ms', 'of type number', ms);
  if (!(ms >= 0 && ms <= MOST_MS)) throw outOfRange('ms', `>= 0 && <= ${MOST_MS}`, ms);
  const refused = refusal(options);
  if (refused !== undefined) return rejected(refused);
  const r = reactor();
  const op = new Sleep(SLEEP, null, null);
  op.refed = options?.ref ?? true;
  const slot = r.take(op);
  const words = r.scratch(slot).words;
  const at = scratchOffset(slot) >> 2;
  const ns = Math.round(ms * NS_PER_MS);
  // struct __kernel_timespec: two 64-bit words, little-endian, as all that Node runs on.
  words[at] = Math.floor(ns / NS_PER_S);
  words[at + 1] = 0;
  words[at + 2] = ns % NS_PER_S;
  words[at + 3] = 0;
  submit(op, slot, IORING_OP_TIMEOUT, -1, 0, r.scratchAddress(slot), 1);
  return bound(op, options);
}
