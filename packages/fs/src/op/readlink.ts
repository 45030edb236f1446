import { OURO_OP_READLINKAT, OURO_OP_REALPATH, PATH_MAX } from '@ouro/native/abi';
import { type Op, type OpKind, opKind, type Target } from '@ouro/runtime/driver';
import { encoded, type NameEncoding } from '../encoding.ts';
import { keptPath, type PathLike } from '../path.ts';
import { Answered, answerOf } from './own.ts';
import type { AtOptions } from './path-op.ts';

const READLINK = opKind<string | Buffer>('readlink', { decode: name });
const REALPATH = opKind<string | Buffer>('realpath', { decode: name });

class Named extends Answered<string | Buffer> {
  readonly encoding: NameEncoding;

  constructor(
    kind: OpKind<string | Buffer>,
    opcode: number,
    path: string | Buffer,
    dirfd: Target | undefined,
    encoding: NameEncoding,
  ) {
    super(kind, opcode, path, dirfd, PATH_MAX, 0);
    this.encoding = encoding;
  }
}

function name(length: number, op: Op<unknown>): string | Buffer {
  const bytes = answerOf(length, op);
  const { encoding } = op as Named;
  // Bytes are copied: the memory that takes any path would be kept alive by a few of them.
  return encoded(encoding === 'buffer' ? Buffer.from(bytes) : bytes, encoding);
}

/** How names are read. */
export interface NameAtOptions extends AtOptions {
  /** Of the result; `'buffer'` for bytes. @default 'buffer' */
  readonly encoding?: NameEncoding | undefined;
}

type Bytewise = NameAtOptions & { readonly encoding?: 'buffer' | undefined };
type Encoded = NameAtOptions & { readonly encoding: BufferEncoding };

/**
 * `readlinkat(2)`: what a symbolic link says.
 *
 * @throws `EINVAL` (it is no link), `ENOENT`, `EACCES`…
 */
export function readlinkat(path: PathLike, options?: Bytewise): Op<Buffer>;
export function readlinkat(path: PathLike, options: Encoded): Op<string>;
export function readlinkat(path: PathLike, options: NameAtOptions): Op<string | Buffer>;
export function readlinkat(
  path: PathLike,
  { dirfd, encoding = 'buffer' }: NameAtOptions = {},
): Op<string | Buffer> {
  return new Named(READLINK, OURO_OP_READLINKAT, keptPath(path), dirfd, encoding);
}

/**
 * `realpath(3)`: the path from the root that leads to the same without links, dots and doubled slashes.
 *
 * @throws `ENOENT`, `ELOOP`, `ENOTDIR`, `EACCES`…
 */
export function realpathat(path: PathLike, options?: Bytewise): Op<Buffer>;
export function realpathat(path: PathLike, options: Encoded): Op<string>;
export function realpathat(path: PathLike, options: NameAtOptions): Op<string | Buffer>;
export function realpathat(
  path: PathLike,
  { dirfd, encoding = 'buffer' }: NameAtOptions = {},
): Op<string | Buffer> {
  return new Named(REALPATH, OURO_OP_REALPATH, keptPath(path), dirfd, encoding);
}
