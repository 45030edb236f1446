import { parseArgs } from 'node:util';
import { File, type Stats } from '@ouro/fs';
import { splice } from '@ouro/fs/ops';
import { submit } from '@ouro/runtime';
import { POLLIN, POLLOUT, pollAdd } from '@ouro/runtime/ops';
import { say } from './output.ts';
import { ENDED_BY_SIGPIPE, explain, misused, problemOf } from './words.ts';

const HELP = `usage: ouro cat [FILE …]

Writes files, one after the other, to standard output; - or nothing is standard input. What cannot be read is told of, the others
are written all the same, and the exit code is 1.`;

const PIECE = 131_072;
/** Bytes that are asked to be moved at once inside the kernel: pipes take what they have room for. */
const SPLICED = 1 << 20;

/** The output has failed: there is nothing left to do. */
class OutputError extends Error {}

/** `ouro cat`: resolves to its exit code. */
export async function catCommand(args: readonly string[]): Promise<number> {
  let names: readonly string[];
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: { help: { type: 'boolean', short: 'h' } },
      allowPositionals: true,
    });
    if (values.help === true) {
      say(HELP);
      return 0;
    }
    names = positionals.length === 0 ? ['-'] : positionals;
  } catch (error) {
    misused('ouro cat', problemOf(error));
    return 1;
  }
  try {
    return await new Cat().all(names);
  } catch (error) {
    if (!(error instanceof OutputError)) throw error;
    // That nobody reads it any more (`ouro cat … | head`) is worth no word.
    if ((error.cause as NodeJS.ErrnoException).code === 'EPIPE') return ENDED_BY_SIGPIPE;
    console.error(`ouro cat: write error: ${explain(error.cause)}`);
    return 1;
  }
}

class Cat {
  readonly #input = File.fromFd(0, '-');
  readonly #output = File.fromFd(1, 'standard output');
  /** All the memory there is, however long the files are. */
  readonly #pieces = [Buffer.allocUnsafeSlow(PIECE), Buffer.allocUnsafeSlow(PIECE)] as const;

  async all(names: readonly string[]): Promise<number> {
    const there = await this.#output.stat().catch(failedOutput);
    let code = 0;
    for (const name of names) {
      let from: File | undefined;
      try {
        from = name === '-' ? this.#input : await File.open(name);
        await this.#one(from, there);
      } catch (error) {
        if (error instanceof OutputError) throw error;
        console.error(`ouro cat: ${name}: ${explain(error)}`);
        code = 1;
      } finally {
        if (from !== this.#input) await from?.close(); // standard input may be named again
      }
    }
    return code;
  }

  async #one(from: File, there: Stats): Promise<void> {
    const here = await from.stat();
    if (wouldGrow(here, there)) throw new Error('input file is output file');
    // A pipe that nobody writes to yet would be taken for one that has ended.
    if (here.isFIFO()) await submit(pollAdd(from, POLLIN));
    if ((here.isFIFO() || there.isFIFO()) && (await this.#splice(from))) return;
    await this.#pour(from);
  }

  /** Moves everything inside the kernel. False if it cannot, or something is amiss: reading and writing will tell what. */
  async #splice(from: File): Promise<boolean> {
    try {
      while ((await submit(splice(from, null, this.#output, null, SPLICED))) > 0);
      return true;
    } catch {
      return false;
    }
  }

  /** Reads the next piece while it writes one. */
  async #pour(from: File): Promise<void> {
    let [full, ahead] = this.#pieces;
    let count = await read(from, full);
    while (count > 0) {
      const writing = this.#write(full.subarray(0, count));
      // Whatever the read comes to, the memory is the write's until that is done.
      const reading = read(from, ahead).catch((error: unknown) => ({ error }));
      try {
        await writing;
      } catch (error) {
        from.cancel(); // which may be a terminal, or wait for somebody who has nothing more to say
        await reading;
        throw error;
      }
      const next = await reading;
      if (typeof next !== 'number') throw next.error;
      count = next;
      [full, ahead] = [ahead, full];
    }
  }

  async #write(piece: Buffer): Promise<void> {
    for (let rest = piece; rest.length > 0; ) {
      try {
        rest = rest.subarray(await this.#output.write(rest));
      } catch (error) {
        if (!mustWait(error)) failedOutput(error);
        rest = rest.subarray(error.bytesTransferred ?? 0);
        await submit(pollAdd(this.#output, POLLOUT)).catch(failedOutput);
      }
    }
  }
}

async function read(from: File, piece: Buffer): Promise<number> {
  for (;;) {
    try {
      return await from.read(piece);
    } catch (error) {
      if (!mustWait(error)) throw error;
      await submit(pollAdd(from, POLLIN));
    }
  }
}

/** Whether whoever gave us the descriptor has put it in non-blocking mode, and nothing is to be had right now. */
function mustWait(error: unknown): error is { readonly bytesTransferred?: number } {
  return (error as NodeJS.ErrnoException).code === 'EAGAIN';
}

function failedOutput(error: unknown): never {
  throw new OutputError('write error', { cause: error });
}

/** Whether a file would grow by being read, without end. */
function wouldGrow(here: Stats, there: Stats): boolean {
  return there.isFile() && here.dev === there.dev && here.ino === there.ino && here.size > 0;
}
