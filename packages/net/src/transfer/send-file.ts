import { EPIPE } from '@ouro/native/abi';
import {
  CURRENT,
  checkInteger,
  checkPosition,
  closedError,
  type Descriptor,
  descriptorOf,
  type Future,
  invalidType,
  type OpOptions,
  type Position,
  reactor,
  refusal,
  rejected,
  systemError,
  type Target,
} from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';
import { FileSend } from './file-send.ts';
import type { Way } from './sending.ts';

/** What of a file is sent. */
export interface SendFileOptions extends OpOptions {
  /** Byte to begin at. Null: at the file's current position, which then stands behind what was sent. @default null */
  readonly offset?: Position | undefined;
  /** Bytes to send, at most: fewer if the file ends before. @default all up to the end */
  readonly length?: number | undefined;
}

/** A `FileHandle` of `node:fs/promises`, or whatever else has the number of an open file. */
export interface NodeFile {
  readonly fd: number;
}

/** Begins to send a file, in its turn among the sends of a socket. */
export function sendFile(
  way: Way,
  file: Target | NodeFile,
  options: SendFileOptions | undefined,
): Future<number> {
  const handle = targetOf(file);
  if (options !== undefined && (typeof options !== 'object' || options === null)) {
    throw invalidType('options', 'of type object', options);
  }
  const { offset, length, signal, scope, timeout } = options ?? {};
  const at = checkPosition(offset, 'options.offset');
  if (length !== undefined) checkInteger('options.length', length, 0, Number.MAX_SAFE_INTEGER);
  const limits = { signal, scope, timeout };
  const refused = refusal(limits);
  if (refused !== undefined) return rejected(refused);
  if (way.descriptor.closed || isClosed(handle)) return rejected(closedError('sendfile'));
  if (way.sends.ended) return rejected(socketError(EPIPE, 'write'));
  const opened = sourceOf(handle);
  if (opened instanceof Error) return rejected(opened);
  const sending = new FileSend(way, {
    ...opened,
    offset: at === CURRENT ? null : at,
    length: length ?? Number.POSITIVE_INFINITY,
  });
  return sending.join(limits);
}

function targetOf(file: Target | NodeFile): Descriptor | NodeFile | number {
  if (typeof file === 'number') {
    checkInteger('file', file, 0, 0x7fff_ffff);
    return file;
  }
  if (isNodeFile(file)) {
    checkInteger('file.fd', file.fd, -1, 0x7fff_ffff);
    return file;
  }
  try {
    return descriptorOf(file);
  } catch {
    throw invalidType('file', 'of type number, a File, a FileHandle or a direct descriptor', file);
  }
}

/** Told by its shape: what is ours has more than a number. */
function isNodeFile(file: Target | NodeFile): file is NodeFile {
  if (typeof file !== 'object' || file === null) return false;
  return 'fd' in file && typeof file.fd === 'number' && !('descriptor' in file) && !('attach' in file);
}

function isClosed(handle: Descriptor | NodeFile | number): boolean {
  return typeof handle !== 'number' && handle.fd < 0;
}

/** A number that only Node knows of is duplicated: its FileHandle may be closed meanwhile, and the number be another file's. */
function sourceOf(
  handle: Descriptor | NodeFile | number,
): { readonly file: Descriptor | number; readonly own: boolean } | Error {
  if (typeof handle === 'number' || 'attach' in handle) return { file: handle, own: false };
  const file = reactor().addon.duplicate(handle.fd);
  return file < 0 ? systemError(file, 'dup') : { file, own: true };
}
