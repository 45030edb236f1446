import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { root } from './program.ts';

/** A program that runs beside the test. */
export interface Beside extends AsyncDisposable {
  /** Its next line of output; throws if it has ended without one. */
  line(): Promise<string>;
  /** Writes to its input. */
  send(text: string): void;
  kill(signal: NodeJS.Signals): void;
  readonly ended: Promise<End>;
}

/** How it ended. */
export interface End {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
}

/** Starts a command from the root of the checkout. It is killed when the test has done with it. */
export function start(command: readonly string[]): Beside {
  const [file = '', ...args] = command;
  const child = spawn(file, args, { cwd: root, env: { ...process.env, NODE_OPTIONS: '' } });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  let stderr = '';
  child.stderr.on('data', (data: Buffer) => {
    stderr += data.toString();
  });
  child.stdin.on('error', () => {});
  const ended = new Promise<End>((done, failed) => {
    child.on('error', failed);
    child.on('close', (code, signal) => done({ code, signal, stderr }));
  });
  return {
    ended,
    line: async () => {
      const { done, value } = await lines.next();
      if (done === true) throw new Error(`The program has ended: ${stderr}`);
      return value;
    },
    send: (text) => void child.stdin.write(text),
    kill: (signal) => void child.kill(signal),
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** Starts `source` as an ES module in a Node of its own. It can import `@ouro/*`. */
export function startProgram(source: string, under: readonly string[] = []): Beside {
  return start([...under, process.execPath, '--input-type=module', '-e', source]);
}
