import { ENDED_BY_SIGPIPE, explain } from './words.ts';

// Standard output that is told of when it fails, which console.log keeps to itself.

let failure: unknown = null;
let used = false;
/** The last line, which comes behind all others. */
let written: Promise<void> = Promise.resolve();

function failed(error: unknown): void {
  failure ??= error;
}

/** Prints a line to standard output, unless that has failed. */
export function say(line: string): void {
  const { stdout } = process; // not touched before: a pipe is put in non-blocking mode by that
  if (!used) stdout.on('error', failed);
  used = true;
  if (failure !== null) return;
  written = new Promise((done) => {
    try {
      stdout.write(`${line}\n`, (error) => {
        if (error) failed(error);
        done();
      });
    } catch (error) {
      failed(error);
      done();
    }
  });
}

/** What a program that would exit with `code` exits with, when all is written: tells of it if it is not. */
export async function endOutput(command: string, code: number): Promise<number> {
  await written;
  if (failure === null) return code;
  // That nobody reads it any more (`ouro --help | head -1`) is worth no word.
  if ((failure as NodeJS.ErrnoException).code === 'EPIPE') return code || ENDED_BY_SIGPIPE;
  console.error(`${command}: write error: ${explain(failure)}`);
  return code || 1;
}
