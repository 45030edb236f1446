import { OURO_OP_GETDENTS } from '@ouro/native/abi';
import { Bounce, type Bytes, Op, opKind, type Target } from '@ouro/runtime/driver';
import { filled, onFile } from './own.ts';

const GETDENTS = opKind<number>('scandir', {
  endsWithHandle: true,
  decode: (count, { hold }) => (hold instanceof Bounce ? hold.copyBack(count) : count),
});

/**
 * `getdents64(2)`: the next names of an open directory, as many as `buffer` takes. The result is the number of bytes, 0 when
 * all have been given. They are records of `struct linux_dirent64`, one behind the other: inode (64 bits), where the next one is
 * (64 bits), length of the record (16 bits), type (`DT_*`, 8 bits), name and a zero byte.
 *
 * Each call goes on where the last one has ended: await one before the next.
 *
 * @param fd a directory, open for reading
 * @param buffer belongs to the op until that is done
 * @throws `ENOTDIR`, `EINVAL` (the buffer is too small for the next name), `ENOENT` (the directory has been removed)
 */
export function getdents(fd: Target, buffer: Bytes): Op<number> {
  const { address, length, hold } = filled(buffer);
  const op = onFile(new Op(GETDENTS, OURO_OP_GETDENTS, 0, address, Math.min(length, 0x7fff_ffff)), fd);
  op.hold = hold;
  return op;
}
