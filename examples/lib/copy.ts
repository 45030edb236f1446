import { constants } from 'node:fs';
import { File, readFile, stat } from '@ouro/fs';
import { ChainError } from '@ouro/runtime';
import { failed } from './failure.ts';

/**
 * Opens what is to be copied: a file that can be read in any place, up to a known end.
 *
 * @param flags more `O_*` bits
 */
export async function openSource(path: string, flags = 0): Promise<File> {
  const found = await stat(path); // before opening it: that of a named pipe would wait for a writer
  if (!found.isFile()) throw new Error(`'${path}' is not a regular file`);
  // Files of /proc say that they are empty, and are made while they are read.
  if (found.size === 0 && (await readFile(path)).length > 0) {
    throw new Error(`'${path}' does not say how long it is`);
  }
  return await File.open(path, constants.O_RDONLY | flags);
}

/** Opens the file that a copy is written to, and empties it, unless it is the source by another name. */
export async function openTarget(path: string, source: File, flags = 0): Promise<File> {
  const target = await File.open(path, constants.O_WRONLY | constants.O_CREAT | flags);
  try {
    const [here, there] = await Promise.all([source.stat(), target.stat()]);
    if (here.dev === there.dev && here.ino === there.ino) {
      throw new Error(`'${source.path}' and '${path}' are the same file`);
    }
    if (there.isFile()) await target.truncate(0);
    return target;
  } catch (error) {
    await target.close();
    throw error;
  }
}

/** Says what went wrong, and with which of the two: reads and writes know no names. */
export function copyFailed(error: unknown, source: string, target: string): void {
  const { syscall } = error as NodeJS.ErrnoException;
  const subject = syscall === undefined ? undefined : syscall === 'read' ? source : target;
  failed(error instanceof ChainError ? error.cause : error, subject);
}
