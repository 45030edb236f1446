import {
  IN_ATTRIB,
  IN_CREATE,
  IN_DELETE,
  IN_DELETE_SELF,
  IN_DONT_FOLLOW,
  IN_EXCL_UNLINK,
  IN_MODIFY,
  IN_MOVE_SELF,
  IN_MOVED_FROM,
  IN_MOVED_TO,
  IN_ONLYDIR,
} from '@ouro/native/abi';

/** What is watched for: what libuv asks for, so that the same happens as with Node. */
export const WATCHED: number =
  IN_ATTRIB | IN_CREATE | IN_MODIFY | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_MOVED_FROM | IN_MOVED_TO;

/** The same of a directory in a tree. */
export const WATCHED_BELOW: number = WATCHED | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK;

const HEAD = 16;

/** A record of `struct inotify_event`. */
export interface Notice {
  /** The watch; -1 of none. */
  readonly watch: number;
  /** `IN_*` bits. */
  readonly mask: number;
  /** The same of both ends of a move. */
  readonly cookie: number;
  /** As bytes, one for each character; empty where it is about what is watched itself. */
  readonly name: string;
}

/** The records in what has been read. */
export function noticesOf(bytes: Buffer, length: number): Notice[] {
  const notices: Notice[] = [];
  for (let at = 0; at + HEAD <= length; ) {
    const room = bytes.readUInt32LE(at + 12);
    const field = bytes.subarray(at + HEAD, at + HEAD + room);
    const end = field.indexOf(0);
    notices.push({
      watch: bytes.readInt32LE(at),
      mask: bytes.readUInt32LE(at + 4),
      cookie: bytes.readUInt32LE(at + 8),
      name: field.toString('latin1', 0, end < 0 ? room : end),
    });
    at += HEAD + room;
  }
  return notices;
}
