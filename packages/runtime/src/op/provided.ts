import {
  IORING_OP_PROVIDE_BUFFERS,
  IORING_OP_READ_MULTISHOT,
  IORING_OP_REMOVE_BUFFERS,
  IOSQE_BUFFER_SELECT,
} from '@ouro/native/abi';
import { checkInteger, invalidType, outOfRange } from '../base/errors.ts';
import { type Bytes, lengthOf } from '../base/view.ts';
import { BufferRing } from '../buffers/buffer-ring.ts';
import { addressOf, checkBytes, UNSTABLE } from '../memory/pin.ts';
import { nothing, Op, type OpKind, opKind, type Target } from '../operation/op.ts';
import { END_OF_STREAM } from '../operation/stream.ts';

const MOST_ID = 0xffff;

const PROVIDE_BUFFERS = opKind<void>('provide_buffers', { decode: nothing });
const REMOVE_BUFFERS = opKind<number>('remove_buffers');

/** The kernel fills these long after the op that provided them: they stay until this thread ends. */
const provided: Set<Bytes> = new Set();

class ProvideBuffers extends Op<void> {
  override place(): void {
    provided.add(this.hold as Bytes);
  }
}

/**
 * Gives the kernel buffers to choose from (5.7), for ops with `IOSQE_BUFFER_SELECT`: it takes one when data has arrived, and
 * names it in the flags of the completion. A buffer that has been used must be provided again. A `BufferRing` does the same
 * without an op for each buffer.
 *
 * The memory is the kernel's from here on and is kept until the thread ends: meant for one slab that is provided again
 * and again.
 *
 * Fails with EEXIST or EINVAL if the group is that of a `BufferRing`, ENOMEM.
 *
 * @param group chosen by the caller, up to 65535
 * @param view memory for `count` buffers of `size` bytes, one behind the other
 * @param firstId number of the first one; the next ones count up
 * @throws TypeError if the view is detached or its memory may move (a resizable ArrayBuffer); RangeError for bad numbers
 * @see io_uring_prep_provide_buffers(3)
 */
export function provideBuffers(
  group: number,
  view: Bytes,
  size: number,
  count: number,
  firstId = 0,
): Op<void> {
  checkInteger('group', group, 0, MOST_ID);
  checkBytes('view', view);
  checkInteger('size', size, 1, 0x7fff_ffff);
  checkInteger('count', count, 1, MOST_ID);
  checkInteger('firstId', firstId, 0, MOST_ID + 1 - count);
  if (size * count > lengthOf(view)) throw outOfRange('size * count', `<= ${lengthOf(view)}`, size * count);
  const address = addressOf(view);
  if (address === UNSTABLE) throw invalidType('view', 'a view of memory that stays in place', view);
  const op = new ProvideBuffers(PROVIDE_BUFFERS, IORING_OP_PROVIDE_BUFFERS, firstId, address, size);
  op.fd = count;
  op.buf = group;
  op.hold = view;
  return op;
}

/**
 * Takes up to `count` provided buffers that have not been used back from the kernel (5.7), and resolves to how many.
 *
 * Fails with ENOENT if the group has none, EINVAL if it is that of a `BufferRing`.
 * @throws TypeError, RangeError for bad arguments
 * @see io_uring_prep_remove_buffers(3)
 */
export function removeBuffers(group: number, count: number): Op<number> {
  checkInteger('group', group, 0, MOST_ID);
  checkInteger('count', count, 1, MOST_ID);
  const op = new Op(REMOVE_BUFFERS, IORING_OP_REMOVE_BUFFERS);
  op.fd = count;
  op.buf = group;
  return op;
}

const READ_MULTISHOT: OpKind<Buffer> = opKind<Buffer>('read', {
  endsWithHandle: true,
  decode: (count, op, _slot, flags) => {
    const ring = op.hold as BufferRing;
    const buffer = BufferRing.bufferOf(flags);
    if (buffer < 0) return END_OF_STREAM; // no bytes
    const at = ring.take(flags, count);
    const bytes = Buffer.from(ring.bytes.subarray(at, at + count));
    ring.release(buffer);
    return count === 0 ? END_OF_STREAM : bytes;
  },
});

class ReadMultishot extends Op<Buffer> {
  readonly #ring: BufferRing;

  constructor(ring: BufferRing) {
    super(READ_MULTISHOT, IORING_OP_READ_MULTISHOT, -1);
    this.flags = IOSQE_BUFFER_SELECT;
    this.hold = ring;
    this.#ring = ring;
  }

  override place(slot: number): void {
    this.buf = this.#ring.group;
    this.#ring.usedBy(slot);
  }

  override ready(resume: () => void): boolean {
    return this.#ring.ready(resume);
  }
}

/**
 * Reads from a pipe, a terminal or the like whenever something is there (6.7), into buffers of `ring`, for `stream`: each
 * result is a Buffer of its own, and the ring has its buffer back. The stream ends with the end of the pipe.
 *
 * Fails with EBADFD if the file cannot be polled (a regular file), ENOBUFS if everything in the ring was used within one
 * turn: nothing is lost, the next stream goes on.
 *
 * @throws TypeError for bad arguments
 * @see io_uring_prep_read_multishot(3)
 */
export function readMultishot(fd: Target, ring: BufferRing): Op<Buffer> {
  if (!(ring instanceof BufferRing)) throw invalidType('ring', 'an instance of BufferRing', ring);
  return new ReadMultishot(ring).on(fd);
}
