import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** A command line. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
}

interface Cpus {
  readonly server: string;
  readonly load: string;
}

// Undefined before the first question, null where nothing is pinned.
let cpus: Cpus | null | undefined;

/**
 * One CPU for the server and another for the load, so that neither takes the other's time; null, with a note printed
 * once, where that cannot be had.
 */
function assigned(): Cpus | null {
  if (cpus === undefined) {
    const [server, load] = allowed();
    const taskset = spawnSync('taskset', ['--version']).status === 0;
    cpus = taskset && load !== undefined ? { server: `${server}`, load: `${load}` } : null;
    if (cpus === null) {
      console.log(`note: nothing is pinned: ${taskset ? 'there is only one CPU' : 'taskset is missing'}`);
    }
  }
  return cpus;
}

/** The CPUs this process may use, out of a list such as `0-3,8`. */
function allowed(): number[] {
  const line = /^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync('/proc/self/status', 'utf8'));
  return (line?.[1] ?? '0').split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}

function onto(list: string | undefined, command: Command): Command {
  // taskset becomes the command by exec, so the pid is the command's own.
  return list === undefined
    ? command
    : { file: 'taskset', args: ['-c', list, command.file, ...command.args] };
}

export const asServer = (command: Command): Command => onto(assigned()?.server, command);
export const asLoad = (command: Command): Command => onto(assigned()?.load, command);
/** For what has no counterpart: on the CPUs asked for, or wherever the scheduler likes. */
export const onCpus = (list: string | undefined, command: Command): Command =>
  assigned() === null ? command : onto(list, command);

/** For the report. */
export function pinning(): string {
  const pins = assigned();
  return pins === null ? 'not pinned' : `server on CPU ${pins.server}, load on CPU ${pins.load}`;
}
