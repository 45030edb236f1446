import { LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN } from '@ouro/native/abi';
import {
  begin,
  type Descriptor,
  type Future,
  flow,
  invalidType,
  Operation,
  type OpOptions,
  type SystemError,
} from '@ouro/runtime/driver';
import { flock } from '../op/flock.ts';
import { checkOptions } from '../options.ts';

/** Which lock is taken. */
export interface LockOptions extends OpOptions {
  /** Nobody else has one, shared or not. Without it any number may share the lock. @default true */
  readonly exclusive?: boolean | undefined;
}

function operation(given: LockOptions | undefined): number {
  const { exclusive = true } = checkOptions(given) ?? {};
  if (typeof exclusive !== 'boolean') throw invalidType('options.exclusive', 'of type boolean', exclusive);
  return exclusive ? LOCK_EX : LOCK_SH;
}

/** See `File.lock`. */
export function lock(descriptor: Descriptor, options: LockOptions | undefined): Future<void> {
  return begin(new Operation(flock(descriptor, operation(options))), options);
}

/** See `File.tryLock`. */
export function tryLock(descriptor: Descriptor, options: LockOptions | undefined): Future<boolean> {
  const op = flock(descriptor, operation(options) | LOCK_NB);
  return flow(async (steps) => {
    try {
      await steps.step(begin(new Operation(op)));
      return true;
    } catch (error) {
      if ((error as SystemError).code === 'EAGAIN') return false;
      throw error;
    }
  }, options);
}

/** See `File.unlock`. */
export function unlock(descriptor: Descriptor, options: OpOptions | undefined): Future<void> {
  return begin(new Operation(flock(descriptor, LOCK_UN)), options);
}
