import { readdirSync, readFileSync } from 'node:fs';
import type { Command } from './pinning.ts';

/** Resident memory of a process, bytes: its heaps and what they have not given back, code, mapped rings. */
export function residentBytes(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line?.[1] ?? Number.NaN) * 1024;
}

/** CPU time of all its threads so far, ns. */
export function cpuNs(pid: number): number {
  return readdirSync(`/proc/${pid}/task`)
    .map((task) => Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]))
    .reduce((sum, ns) => sum + ns, 0);
}

/** The command with so many descriptors at least, which takes privilege where that is above the hard limit. */
export function withDescriptors(count: number, command: Command): Command {
  // The second figure of the line is the hard limit. Node has raised the soft one to it, and children inherit that.
  const limits = readFileSync('/proc/self/limits', 'utf8');
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)?.[1] ?? 'unlimited';
  if (hard === 'unlimited' || Number(hard) >= count) return command;
  return { file: 'prlimit', args: [`--nofile=${count}:${count}`, command.file, ...command.args] };
}
