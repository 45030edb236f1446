import { execFileSync } from 'node:child_process';
import { readFileSync, statfsSync } from 'node:fs';
import os from 'node:os';
import { ROOT } from './paths.ts';
import { pinning } from './pinning.ts';

/** What a figure means nothing without. */
export interface Machine {
  readonly date: string;
  readonly commit: string;
  readonly kernel: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly node: string;
  readonly libuv: string;
  readonly loadAverage: number;
  readonly pinning: string;
  /** How TCP controls congestion, on loopback as well: `bbr` paces what it sends by timers, `cubic` does not. */
  readonly tcp: string;
}

export function machine(): Machine {
  const { uv = '' } = process.versions;
  return {
    date: new Date().toISOString(),
    commit: commit(),
    kernel: `${os.type()} ${os.release()} ${os.arch()}`,
    cpu: os.cpus()[0]?.model ?? 'unknown',
    cores: os.availableParallelism(),
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    node: process.version,
    libuv: uv,
    loadAverage: os.loadavg()[0] ?? 0,
    pinning: pinning(),
    tcp: congestionControl(),
  };
}

function congestionControl(): string {
  try {
    return readFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8').trim();
  } catch {
    return 'unknown';
  }
}

function commit(): string {
  try {
    const git = (...args: string[]): string =>
      execFileSync('git', args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
    return (
      git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain') === '' ? '' : ' with local changes')
    );
  } catch {
    return 'unknown';
  }
}

// statfs(2)'s f_type, of the file systems one meets.
const FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0xef53, 'ext4'],
  [0x58465342, 'xfs'],
  [0x9123683e, 'btrfs'],
  [0x794c7630, 'overlayfs'],
  [0x01021994, 'tmpfs'],
  [0xf2f52010, 'f2fs'],
  [0x2fc12fc1, 'zfs'],
]);

export function fileSystem(directory: string): string {
  const { type } = statfsSync(directory);
  return FILE_SYSTEMS.get(type) ?? `0x${type.toString(16)}`;
}
