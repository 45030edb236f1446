import { constants } from 'node:fs';
import {
  begin,
  close,
  type Pinned,
  reactor,
  type Steps,
  type SystemError,
  submit,
} from '@ouro/runtime/driver';
import { openFd } from '../op/open.ts';
import { fsync } from '../op/sync.ts';
import { write, writing } from '../op/transfer.ts';
import { ftruncate } from '../op/truncate.ts';

const { O_APPEND, O_CREAT, O_EXCL, O_TRUNC } = constants;

/** Whether `O_*` bits say that what is there is replaced: then it is written over, and cut off behind. */
export function isInPlace(flags: number): boolean {
  return (flags & O_TRUNC) !== 0 && (flags & (O_EXCL | O_APPEND)) === 0;
}

/**
 * Writes a whole file in single steps, each of which can wait and be given up: for pipes and whatever else is no regular file.
 */
export async function writeByParts(
  steps: Steps,
  path: string | Buffer,
  source: Pinned,
  flags: number,
  mode: number,
  flush = false,
): Promise<void> {
  const inPlace = isInPlace(flags);
  const fd = await (inPlace ? openInPlace(steps, path, flags, mode) : steps.step(openFd(path, flags, mode)));
  try {
    steps.check();
    // A file stands at its beginning when it is opened; pipes and appending know no positions.
    if (source.length > 0) await steps.step(begin(writing(write(fd, source, 0))));
    // No step: all is written, so it can no longer be cancelled. Most files have their length already, which saves
    // the kernel thread that a truncation takes; writing nothing must still change the time of the file.
    const size = inPlace ? reactor().addon.sizeHint(fd) : -1;
    if (size > source.length || (size === 0 && source.length === 0))
      await submit(ftruncate(fd, source.length));
    if (flush) await steps.step(submit(fsync(fd)));
  } finally {
    await close(fd);
  }
}

/** Opens what is there without emptying it. With O_CREAT the kernel needs a thread of its own for every open. */
async function openInPlace(
  steps: Steps,
  path: string | Buffer,
  flags: number,
  mode: number,
): Promise<number> {
  const kept = flags & ~O_TRUNC;
  try {
    return await steps.step(openFd(path, kept & ~O_CREAT, mode));
  } catch (error) {
    if ((flags & O_CREAT) === 0 || (error as SystemError).code !== 'ENOENT') throw error;
    steps.check();
    return await steps.step(openFd(path, kept, mode));
  }
}
