import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { getSystemErrorName } from 'node:util';
import {
  IORING_SETUP_HYBRID_IOPOLL,
  IORING_SETUP_IOPOLL,
  IORING_SETUP_SQ_AFF,
  IORING_SETUP_SQPOLL,
} from './abi.ts';
import { addon, type RingOptions } from './loader.ts';

/**
 * What keeps io_uring from this process. `mode`: only in the mode asked for; without it there would be a ring. `switch`:
 * `OURO_DRIVER=poll`, and nobody asked the kernel.
 */
export type DenialReason =
  | 'sysctl'
  | 'seccomp'
  | 'kernel'
  | 'memory'
  | 'descriptors'
  | 'mode'
  | 'switch'
  | 'unknown';

/** A mode of the ring that the kernel may refuse by itself. */
export type RingMode = 'SQPOLL' | 'SQ_AFF' | 'IOPOLL' | 'HYBRID_IOPOLL';

/** What the machine says of itself, as far as a denial is concerned. */
export interface DenialEvidence {
  /** The result of `io_uring_setup`, below zero; `-ENOTSUP` where the ring lacks what ouro needs. */
  readonly result: number;
  /** `kernel.io_uring_disabled` (6.6): 0 allowed, 1 for a group only, 2 for nobody; null where it does not exist. */
  readonly sysctl: number | null;
  /** `Seccomp` of `/proc/self/status`: 2 where a filter is in force; null where it cannot be read. */
  readonly seccomp: number | null;
  /** `uname -r` */
  readonly kernel: string;
  /** The first mode asked for that the kernel refuses; null where it refuses the plain ring too. */
  readonly mode?: RingMode | null;
}

/** io_uring cannot be used here. The message says what denied it and what to do about it. */
export class UringUnavailableError extends Error {
  readonly code = 'ERR_OURO_URING_UNAVAILABLE';
  readonly syscall = 'io_uring_setup';
  readonly errno: number;
  readonly reason: DenialReason;

  constructor(reason: DenialReason, errno: number, explanation: string) {
    super(`io_uring is not available: ${explanation}`);
    this.name = 'UringUnavailableError';
    this.errno = errno;
    this.reason = reason;
  }
}

const EPERM = -1;
const EAGAIN = -11;
const ENOMEM = -12;
const ENFILE = -23;
const EMFILE = -24;
const ENOSYS = -38;
const ENOTSUP = -95;

function numberIn(path: string, pattern: RegExp): number | null {
  try {
    const match = pattern.exec(readFileSync(path, 'utf8'));
    return match?.[1] === undefined ? null : Number(match[1]);
  } catch {
    return null;
  }
}

const MODES: readonly (readonly [RingMode, flag: number])[] = [
  ['SQPOLL', IORING_SETUP_SQPOLL],
  ['SQ_AFF', IORING_SETUP_SQ_AFF],
  ['IOPOLL', IORING_SETUP_IOPOLL],
  ['HYBRID_IOPOLL', IORING_SETUP_HYBRID_IOPOLL],
];

/** Tries small rings, each with one mode more, until the kernel refuses one. */
function refusedMode({ modeFlags = 0, sqCpu = 0 }: RingOptions): RingMode | null {
  if (modeFlags === 0 || addon().trySetup(0, 0) !== 0) return null;
  let flags = 0;
  for (const [mode, flag] of MODES) {
    flags |= modeFlags & flag;
    if ((modeFlags & flag) !== 0 && addon().trySetup(flags, sqCpu) !== 0) return mode;
  }
  return null;
}

/** Collects what `explain` needs, for a ring that was to have these options. */
export function evidence(result: number, options: RingOptions = {}): DenialEvidence {
  return {
    result,
    mode: refusedMode(options),
    sysctl: numberIn('/proc/sys/kernel/io_uring_disabled', /^(\d+)/),
    seccomp: numberIn('/proc/self/status', /^Seccomp:\s*(\d+)/m),
    kernel: release(),
  };
}

function refusal(mode: RingMode, result: number, kernel: string): string {
  switch (mode) {
    case 'SQPOLL':
      if (result === EPERM) {
        return `SQPOLL is forbidden, by a security module or by a kernel before 5.11 (this is Linux ${kernel}) that wants CAP_SYS_NICE for it. Run without the option sqpoll`;
      }
      if (result === EAGAIN || result === ENOMEM) {
        return 'the kernel could not start the thread that SQPOLL needs: raise the limit of processes (ulimit -u, pids.max of the cgroup) or of memory, or run without the option sqpoll';
      }
      return `Linux ${kernel} refuses SQPOLL. Run without the option sqpoll`;
    case 'SQ_AFF':
      return 'the CPU named by the option sqpoll.cpu does not exist, is offline, or is not in the cpuset of this process. Name another one, or none';
    case 'IOPOLL':
      return `Linux ${kernel} refuses IOPOLL. Run without the option iopoll`;
    case 'HYBRID_IOPOLL':
      return `Linux ${kernel} refuses HYBRID_IOPOLL, which came with 6.13. Say iopoll: true instead of 'hybrid'`;
  }
}

/** The error for a program that insists on the ring under `OURO_DRIVER=poll`. The kernel is not asked. */
export function switchedOff(asked: string): UringUnavailableError {
  const explanation = `OURO_DRIVER=poll switches it off, and the program insists on it with ${asked}`;
  return new UringUnavailableError('switch', EPERM, explanation);
}

/** Says which of the guards (sysctl, seccomp, kernel) refused, or which mode was too much, and how to get past it. */
export function explain({ result, sysctl, seccomp, kernel, mode }: DenialEvidence): UringUnavailableError {
  const name = result < 0 ? getSystemErrorName(result) : 'no error';
  const unavailable = (reason: DenialReason, explanation: string): UringUnavailableError =>
    new UringUnavailableError(reason, result, `${explanation} (io_uring_setup: ${name})`);

  if (mode !== null && mode !== undefined) {
    return unavailable('mode', `not in the mode asked for: ${refusal(mode, result, kernel)}`);
  }
  if (result === ENOTSUP) {
    return unavailable(
      'kernel',
      `Linux ${kernel} has io_uring without multishot receive and provided-buffer rings; ouro needs 6.0 or newer. Upgrade the kernel`,
    );
  }
  if (result === EPERM && sysctl === 2) {
    return unavailable(
      'sysctl',
      'kernel.io_uring_disabled is 2, which forbids it to every process. An administrator can allow it with: sysctl -w kernel.io_uring_disabled=0',
    );
  }
  if (result === EPERM && sysctl === 1) {
    return unavailable(
      'sysctl',
      'kernel.io_uring_disabled is 1, which allows it only to CAP_SYS_ADMIN and to members of the group in kernel.io_uring_group. Join that group, or set: sysctl -w kernel.io_uring_disabled=0',
    );
  }
  if ((result === EPERM || result === ENOSYS) && seccomp === 2) {
    return unavailable(
      'seccomp',
      'a seccomp filter forbids the system call, as the default profiles of Docker, containerd and Kubernetes do. Run the container with a profile that allows io_uring_setup, io_uring_enter and io_uring_register (docker run --security-opt seccomp=profile.json)',
    );
  }
  if (result === ENOSYS) {
    return unavailable(
      'kernel',
      `Linux ${kernel} was built without io_uring (CONFIG_IO_URING) or is older than 5.1. Use a kernel of 6.0 or newer that has it`,
    );
  }
  if (result === ENOMEM) {
    return unavailable(
      'memory',
      'the kernel could not get memory for the ring. It charges rings to the memlock limit (before 5.12 and from 6.13 on; all processes of a user share it): raise that (ulimit -l), or the memory limit of the cgroup',
    );
  }
  if (result === EMFILE || result === ENFILE) {
    return unavailable('descriptors', 'no descriptor is left for the ring: raise the limit (ulimit -n)');
  }
  if (result === EPERM) {
    return unavailable(
      'unknown',
      'something forbids the system call: a security module (SELinux, AppArmor) perhaps. Ask its log',
    );
  }
  return unavailable('unknown', `Linux ${kernel} refused the ring`);
}
