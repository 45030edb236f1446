/**
 * cp: copies a file with many reads in flight, each piece written where it belongs as soon as it is there. Pieces that
 * are all zeros are not written, so that the holes of a sparse file stay holes.
 */
import { constants, fchmodSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { File } from '@ouro/fs';
import { run } from '@ouro/runtime';
import { explain } from './lib/errors.ts';

const HELP = `usage: cp SOURCE TARGET

Copies a file to TARGET, or into it if it is a directory. The copy has the permissions of the file.`;

const PIECE = 131_072;
const IN_FLIGHT = 32;
const ZEROS = Buffer.alloc(PIECE);

/** Copies one file into another, empty one, `IN_FLIGHT` pieces at a time. */
async function copyPieces(from: File, to: File): Promise<void> {
  let next = 0;
  let length = 0;
  const copySome = async (): Promise<void> => {
    const buffer = Buffer.allocUnsafeSlow(PIECE);
    for (;;) {
      const position = next;
      next += PIECE;
      const piece = buffer.subarray(0, await from.read(buffer, position));
      if (piece.length === 0) return;
      length = Math.max(length, position + piece.length);
      if (!piece.equals(ZEROS.subarray(0, piece.length))) await to.write(piece, position);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, copySome));
  await to.truncate(length); // the hole at the end, if there is one
}

/** Copies what can only be read or written from one end to the other: pipes, devices, files of /proc. */
async function copyStream(from: File, to: File): Promise<void> {
  const buffer = Buffer.allocUnsafeSlow(PIECE);
  for (let count = await from.read(buffer); count > 0; count = await from.read(buffer)) {
    await to.write(buffer.subarray(0, count));
  }
}

/** Opens the target, or the file in it if it is a directory. What is in that stays for now: it may be the source. */
async function openTarget(target: string, source: string, mode: number): Promise<File> {
  const flags = constants.O_WRONLY | constants.O_CREAT;
  try {
    return await File.open(target, flags, { mode });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EISDIR') throw error;
    return await File.open(join(target, basename(source)), flags, { mode });
  }
}

async function copy(source: string, target: string): Promise<void> {
  await using from = await File.open(source);
  const here = await from.stat();
  if (here.isDirectory()) throw new Error(`'${source}' is a directory`);
  const permissions = here.mode & 0o777;
  await using to = await openTarget(target, source, permissions);
  const there = await to.stat();
  if (here.dev === there.dev && here.ino === there.ino) {
    throw new Error(`'${source}' and '${to.path}' are the same file`);
  }
  if (!there.isFile()) return await copyStream(from, to);
  await to.truncate(0);
  // What says that it is empty may be made while it is read, as in /proc.
  await (here.isFile() && here.size > 0 ? copyPieces(from, to) : copyStream(from, to));
  fchmodSync(to.fd, permissions); // the ring has no op for it
}

/** The file that an error is about: reads and writes know no names. */
function subject(error: unknown, source: string, target: string): string {
  const { path, syscall } = error as NodeJS.ErrnoException;
  if (path === undefined && syscall === undefined) return '';
  return `${path ?? (syscall === 'read' ? source : target)}: `;
}

function fail(message: string): void {
  console.error(`cp: ${message}`);
  process.exitCode = 1;
}

try {
  const { values, positionals } = parseArgs({
    options: { help: { type: 'boolean', short: 'h' } },
    allowPositionals: true,
  });
  const [source, target, ...more] = positionals;
  if (values.help) console.log(HELP);
  else if (source === undefined || target === undefined || more.length > 0)
    fail(`two files, please\n\n${HELP}`);
  else {
    run(() =>
      copy(source, target).catch((error) => fail(subject(error, source, target) + explain(error))),
    ).catch((error) => fail(explain(error)));
  }
} catch (error) {
  fail(`${explain(error)}\n\n${HELP}`);
}
