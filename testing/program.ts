import { spawn } from 'node:child_process';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sanitized } from './sanitized.ts';

/** The root of the checkout, where `@ouro/*` resolve. */
export const root: string = resolve(dirname(fileURLToPath(import.meta.url)), '..');

const SLOWER = sanitized ? 4 : 1;

/** How a program ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** How a program is started. */
export interface ProgramOptions {
  /** Arguments of Node before the program. */
  readonly flags?: readonly string[];
  /** A command in front of Node: `['prlimit', '--nofile=64']`. */
  readonly under?: readonly string[];
  readonly args?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
  /** Ended by SIGKILL after so long, four times as long with the sanitizers. @default 20_000 */
  readonly limitMs?: number;
}

/** Runs `source` as an ES module in a Node of its own. It can import `@ouro/*`. */
export function runProgram(source: string, options: ProgramOptions = {}): Promise<Ended> {
  return runCommand(
    [
      ...(options.under ?? []),
      process.execPath,
      ...(options.flags ?? []),
      '--input-type=module',
      '-e',
      source,
      '--',
      ...(options.args ?? []),
    ],
    options,
  );
}

/** Whether `strace` is here and may look at programs. */
export async function canTrace(): Promise<boolean> {
  const ended = await runCommand(['strace', '-c', '-o', '/dev/null', 'true']).catch(() => null);
  return ended?.code === 0;
}

/** Runs a command to its end, from the root of the checkout. */
export function runCommand(
  command: readonly string[],
  { env = {}, input = '', limitMs = 20_000 }: Pick<ProgramOptions, 'env' | 'input' | 'limitMs'> = {},
): Promise<Ended> {
  const [file = '', ...args] = command;
  // Only Node has the sanitized addon; other programs do not get along with a sanitizer they were not built for. (npm is Node.)
  const runsNode = file === 'npm' || command.some((part) => part.includes(process.execPath));
  const bare = runsNode ? {} : { LD_PRELOAD: '' };
  return new Promise((done, failed) => {
    const child = spawn(file, args, {
      cwd: root,
      env: { ...process.env, NODE_OPTIONS: '', ...bare, ...env },
    });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (data: Buffer) => out.push(data));
    child.stderr.on('data', (data: Buffer) => err.push(data));
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    const timer = setTimeout(() => child.kill('SIGKILL'), limitMs * SLOWER);
    child.on('error', failed);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      done({ code, signal, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() });
    });
  });
}
