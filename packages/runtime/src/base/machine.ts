import { readFileSync } from 'node:fs';
import { availableParallelism, release } from 'node:os';
import { dirname, join } from 'node:path';

/** What the machine and the container allow this process. Null where that cannot be found out. */
export interface Machine {
  /** `uname -r` */
  readonly kernel: string;
  readonly sysctl: {
    /** `kernel.io_uring_disabled` (6.6): 0 for nobody, 1 for those outside the group, 2 for everybody. */
    readonly ioUringDisabled: number | null;
    /** `kernel.io_uring_group`: the group that 1 exempts, -1 for none. */
    readonly ioUringGroup: number | null;
  };
  readonly seccomp: {
    /** Of this thread. */
    readonly mode: 'off' | 'strict' | 'filter' | null;
    /** Filters in force (5.9). */
    readonly filters: number | null;
  };
  readonly memlock: {
    /** Bytes that may be locked; `Infinity` for all. Registered buffers count, on some kernels the ring too. */
    readonly soft: number | null;
    /** Bytes that `soft` can be raised to. */
    readonly hard: number | null;
    /** CAP_IPC_LOCK: the limit does not hold for this process. */
    readonly exempt: boolean | null;
  };
  readonly cpus: {
    /** What Node goes by: `os.availableParallelism()`. */
    readonly available: number;
    /** CPUs that this thread may run on. */
    readonly affinity: number | null;
    /** CPUs' worth of time that the cgroup gives (`cpu.max`): 1.5 for one and a half; `Infinity` for no limit. */
    readonly quota: number | null;
  };
}

/** Looks at the machine. Never throws. */
export function machine(): Machine {
  const status = read('/proc/thread-self/status');
  const limits = read('/proc/self/limits');
  return {
    kernel: release(),
    sysctl: {
      ioUringDisabled: integer(read('/proc/sys/kernel/io_uring_disabled'), /^(\d+)/),
      ioUringGroup: integer(read('/proc/sys/kernel/io_uring_group'), /^(-?\d+)/),
    },
    seccomp: {
      mode: seccompMode(integer(status, /^Seccomp:\s*(\d+)/m)),
      filters: integer(status, /^Seccomp_filters:\s*(\d+)/m),
    },
    memlock: {
      soft: limit(limits, /^Max locked memory\s+(\S+)/m),
      hard: limit(limits, /^Max locked memory\s+\S+\s+(\S+)/m),
      exempt: hasIpcLock(status),
    },
    cpus: {
      available: availableParallelism(),
      affinity: listed(/^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1]),
      quota: cpuQuota(),
    },
  };
}

/** A file's text; empty if it cannot be read. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function integer(text: string, pattern: RegExp): number | null {
  const found = pattern.exec(text)?.[1];
  return found === undefined ? null : Number(found);
}

function limit(text: string, pattern: RegExp): number | null {
  const found = pattern.exec(text)?.[1];
  if (found === undefined) return null;
  return found === 'unlimited' ? Number.POSITIVE_INFINITY : Number(found);
}

function seccompMode(mode: number | null): Machine['seccomp']['mode'] {
  switch (mode) {
    case 0:
      return 'off';
    case 1:
      return 'strict';
    case 2:
      return 'filter';
    default:
      return null;
  }
}

const CAP_IPC_LOCK = 14n;

function hasIpcLock(status: string): boolean | null {
  const mask = /^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1];
  return mask === undefined ? null : ((BigInt(`0x${mask}`) >> CAP_IPC_LOCK) & 1n) === 1n;
}

/** How many a list such as `0-3,8` names. */
function listed(list: string | undefined): number | null {
  if (list === undefined) return null;
  let count = 0;
  for (const range of list.split(',')) {
    const [first, last = first] = range.split('-').map(Number);
    count += last - first + 1;
  }
  return count;
}

const CGROUPS = '/sys/fs/cgroup';

/** CPUs' worth of time that the least of this cgroup and those above it gives: each can only take away. */
export function cpuQuota(): number | null {
  const own = read('/proc/self/cgroup');
  const unified = /^0::(\/.*)$/m.exec(own)?.[1];
  const separate = /^\d+:(?:[^:]*,)?cpu(?:,[^:]*)?:(\/.*)$/m.exec(own)?.[1];
  const quota = unified === undefined ? null : least(unified, quotaOfUnified);
  return quota ?? (separate === undefined ? null : least(separate, quotaOfSeparate));
}

function least(group: string, quotaOf: (group: string) => number | null): number | null {
  let found: number | null = null;
  for (let path = group; ; path = dirname(path)) {
    const quota = quotaOf(path);
    if (quota !== null) found = Math.min(found ?? quota, quota);
    if (path === dirname(path)) return found;
  }
}

function quotaOfUnified(group: string): number | null {
  const match = /^(max|\d+) (\d+)/.exec(read(join(CGROUPS, group, 'cpu.max')));
  if (match === null) return null;
  return match[1] === 'max' ? Number.POSITIVE_INFINITY : Number(match[1]) / Number(match[2]);
}

function quotaOfSeparate(group: string): number | null {
  const quota = integer(read(join(CGROUPS, 'cpu', group, 'cpu.cfs_quota_us')), /^(-?\d+)/);
  const period = integer(read(join(CGROUPS, 'cpu', group, 'cpu.cfs_period_us')), /^(\d+)/);
  if (quota === null || period === null || period === 0) return null;
  return quota < 0 ? Number.POSITIVE_INFINITY : quota / period;
}
