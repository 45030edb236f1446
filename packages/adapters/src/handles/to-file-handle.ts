import { type FileHandle, open } from 'node:fs/promises';
import { File } from '@ouro/fs';
import { invalidType, reactor, systemError } from '@ouro/runtime/driver';
import { fsBinding, type NativeFileHandle } from '../fs/binding.ts';
import { ringFileHandles } from '../fs/file-handle.ts';
import { prepare } from '../fs/prepare.ts';
import { noteOpened } from '../fs/scope.ts';

type FileHandleClass = new (native: NativeFileHandle) => FileHandle;

let nodesClass: FileHandleClass | undefined;
let wrap: ((fd: number) => NativeFileHandle) | undefined;

/** Node's class, which is to be had of an instance only. */
async function findClass(): Promise<FileHandleClass> {
  const instance = await open('/dev/null');
  try {
    return instance.constructor as FileHandleClass;
  } finally {
    await instance.close();
  }
}

function checkOpen(file: unknown): asserts file is File {
  if (!(file instanceof File) || file.fd < 0 || file.descriptor.direct)
    throw invalidType('file', 'an open file with a descriptor', file);
}

/**
 * A `FileHandle` of Node's own class over a file of ours, which is the handle's from then on: do not use it any more. Writes that have
 * begun are finished before, reads are cancelled. The handle has a descriptor of its own for the same open file, with its flags, position
 * and locks; it has to be closed, as every FileHandle, and that closes the file.
 *
 * @throws TypeError for what is no file, or is closed; `ERR_OURO_UNSUPPORTED` on a Node that we do not know; `EMFILE` where there is
 *   no descriptor to be had. The file is as it was then
 */
export async function toFileHandle(file: File): Promise<FileHandle> {
  checkOpen(file);
  prepare();
  const binding = fsBinding();
  if (binding === null) {
    throw Object.assign(new Error('This version of Node has no room for files of others below FileHandle'), {
      code: 'ERR_OURO_UNSUPPORTED',
    });
  }
  // What may fail comes before the file is closed: it stays whoever's it is then.
  if (nodesClass === undefined) {
    nodesClass = await findClass();
    checkOpen(file);
  }
  const r = reactor();
  const fd = r.addon.duplicate(file.fd);
  if (fd < 0) throw systemError(fd, 'dup');
  try {
    await file.close();
  } catch (error) {
    r.discard(fd);
    throw error;
  }
  // The handle's, which closes it when it is lost as well, and no longer the thread's.
  r.disown(fd);
  noteOpened(fd);
  wrap ??= ringFileHandles(binding);
  return new nodesClass(wrap(fd));
}
