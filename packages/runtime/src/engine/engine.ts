import {
  type Addon,
  type DenialReason,
  evidence,
  explain,
  type RingDescription,
  type UringUnavailableError,
} from '@ouro/native';
import { IORING_REGISTER_IOWQ_MAX_WORKERS, IORING_SETUP_SQPOLL } from '@ouro/native/abi';
import { systemError } from '../base/errors.ts';
import type { RingConfig } from '../base/options.ts';

/** Why the poll engine runs. */
export interface Fallback {
  /** What denies the ring, or `'asked for'` where nobody asked the kernel for one. */
  readonly reason: DenialReason | 'asked for';
  /** That of the `UringUnavailableError`; null where it was asked for. */
  readonly code: string | null;
  /** What denies the ring and what to do about it. */
  readonly message: string;
}

/** Opens the engine that is wanted: the kernel's ring, user space, or the first of them that there is. */
export function openEngine(
  native: Addon,
  config: RingConfig,
  dispatch: (count: number) => void,
): readonly [RingDescription, UringUnavailableError | null] {
  let denial: UringUnavailableError | null = null;
  if (config.wanted !== 'poll') {
    const ring = native.open(config, dispatch);
    if (typeof ring !== 'number') return [ring, null];
    denial = explain(evidence(ring, config));
    if (config.wanted === 'uring') throw denial;
    if (config.modeFlags !== 0) throw insisted(denial, config);
  }
  const ring = native.open({ ...config, driver: 'poll' }, dispatch);
  if (typeof ring === 'number') throw Object.assign(systemError(ring, 'epoll_create1'), { cause: denial });
  return [ring, denial];
}

/** The denial of a mode of the ring, for which user space is no substitute. */
function insisted(denial: UringUnavailableError, { modeFlags }: RingConfig): UringUnavailableError {
  const option = (modeFlags & IORING_SETUP_SQPOLL) === 0 ? 'iopoll' : 'sqpoll';
  if (denial.reason !== 'mode') {
    denial.message += `. The option ${option} insists on it; without that option programs run on the poll engine`;
  }
  return denial;
}

/** Why user space runs. */
export function fallbackOf(denial: UringUnavailableError | null): Fallback {
  if (denial !== null) return { reason: denial.reason, code: denial.code, message: denial.message };
  return {
    reason: 'asked for',
    code: null,
    message:
      "the driver 'poll' was asked for, by OURO_DRIVER or the program, so the kernel was not asked for a ring",
  };
}

/** `IORING_REGISTER_IOWQ_MAX_WORKERS` (5.15): two words, 0 for what is to stay as it is. */
export function limitWorkers(native: Addon, { boundedWorkers, unboundedWorkers }: RingConfig): void {
  if (boundedWorkers === 0 && unboundedWorkers === 0) return;
  const limits = new Uint32Array([boundedWorkers, unboundedWorkers]);
  const address = native.addressOf(new Uint8Array(limits.buffer));
  const result = native.register(IORING_REGISTER_IOWQ_MAX_WORKERS, address, limits.length);
  if (result < 0) throw systemError(result, 'io_uring_register');
}
