/** cat: writes files, one after the other, to standard output. Reads the next piece while it writes one. */
import { parseArgs } from 'node:util';
import { File } from '@ouro/fs';
import { run } from '@ouro/runtime';
import { ENDED_BY_SIGPIPE, explain } from './lib/errors.ts';

const HELP = `usage: cat [FILE …]

Writes files to standard output; - or nothing is standard input.`;

const PIECE = 131_072;

/** All the memory there is, however long the files are. */
const pieces = [Buffer.allocUnsafeSlow(PIECE), Buffer.allocUnsafeSlow(PIECE)] as const;
const input = File.fromFd(0, '-');
const output = File.fromFd(1, 'standard output');

/** Says what is wrong with one file. The next ones are written all the same. */
function complain(name: string, problem: string): void {
  console.error(`cat: ${name}: ${problem}`);
  process.exitCode = 1;
}

/** Without output there is nothing left to do. That nobody reads it any more (`cat … | head`) is worth no word. */
function outputFailed(error: NodeJS.ErrnoException): never {
  if (error.code === 'EPIPE') process.exit(ENDED_BY_SIGPIPE);
  console.error(`cat: write error: ${explain(error)}`);
  process.exit(1);
}

async function pour(from: File): Promise<void> {
  let [full, ahead] = pieces;
  let count = await from.read(full);
  while (count > 0) {
    const writing = output.write(full.subarray(0, count)).catch(outputFailed);
    try {
      count = await from.read(ahead);
    } finally {
      await writing;
    }
    [full, ahead] = [ahead, full];
  }
}

/** Whether a file would grow by being read, without end. */
async function isOutput(from: File): Promise<boolean> {
  const there = await output.stat();
  if (!there.isFile()) return false;
  const here = await from.stat();
  return here.dev === there.dev && here.ino === there.ino && here.size > 0;
}

async function cat(names: readonly string[]): Promise<void> {
  for (const name of names) {
    let from: File | undefined;
    try {
      from = name === '-' ? input : await File.open(name);
      if (await isOutput(from)) complain(name, 'input file is output file');
      else await pour(from);
    } catch (error) {
      complain(name, explain(error));
    }
    if (from !== input) await from?.close(); // standard input may be named again
  }
}

try {
  const { values, positionals } = parseArgs({
    options: { help: { type: 'boolean', short: 'h' } },
    allowPositionals: true,
  });
  if (values.help) console.log(HELP);
  else {
    run(() => cat(positionals.length === 0 ? ['-'] : positionals)).catch((error) => {
      console.error(`cat: ${explain(error)}`);
      process.exitCode = 1;
    });
  }
} catch (error) {
  console.error(`cat: ${explain(error)}\n\n${HELP}`);
  process.exitCode = 1;
}
