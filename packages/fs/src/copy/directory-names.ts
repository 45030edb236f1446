import { constants } from 'node:fs';
import { close, type Steps, type SystemError, submit, systemError } from '@ouro/runtime/driver';
import { forEachEntry, isLast, listDirectory } from '../op/listing.ts';
import { openFd } from '../op/open.ts';
import type { BytePath } from './byte-path.ts';

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;

/** A name in a directory. */
export interface Named {
  readonly name: BytePath;
  /** `DT_*` of what has it; 0 where the file system does not say. */
  readonly type: number;
}

const LIST_BYTES = 32_768;

/**
 * The names in a directory, in bunches as the kernel gives them, without `.` and `..`. Its descriptor is closed when all have been taken, or
 * when whoever takes them has had enough.
 */
export async function* namesIn(
  steps: Steps,
  path: string | Buffer,
  { follow = false }: { readonly follow?: boolean } = {},
): AsyncGenerator<readonly Named[], void, undefined> {
  const fd = await open(steps, path, O_RDONLY | O_DIRECTORY | (follow ? 0 : O_NOFOLLOW));
  try {
    const list = Buffer.allocUnsafeSlow(LIST_BYTES);
    do {
      steps.check();
      await steps.step(submit(listDirectory(fd, list, 0, path)));
      const names: Named[] = [];
      forEachEntry(list, 'latin1', (name, type) => names.push({ name: name as BytePath, type }));
      yield names;
    } while (!isLast(list));
  } finally {
    await close(fd);
  }
}

async function open(steps: Steps, path: string | Buffer, flags: number): Promise<number> {
  steps.check();
  try {
    return await steps.step(openFd(path, flags, 0));
  } catch (error) {
    const { errno, syscall } = error as Partial<SystemError>;
    throw errno !== undefined && syscall !== undefined ? systemError(errno, 'opendir', { path }) : error;
  }
}
