import { OpenedDescriptor, type OpenedKind } from '@ouro/runtime/driver';

const FILE: OpenedKind = {
  name: 'A file',
  plural: 'files',
  code: 'OURO_FILE_NOT_CLOSED',
  about: (fd, path) => `'${path}', descriptor ${fd}`,
};

/** The descriptor of a file or directory that has been opened: closed and reported if it is lost. */
export function openedFile(fd: number, path: string | Buffer, place: string | null): OpenedDescriptor {
  return new OpenedDescriptor(fd, { kind: FILE, path, place });
}
