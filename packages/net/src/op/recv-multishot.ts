import {
  ENOBUFS,
  ENOENT,
  IORING_CQE_F_MORE,
  IORING_FEAT_RECVSEND_BUNDLE,
  IORING_OP_RECV,
  IORING_RECV_MULTISHOT,
  IORING_RECVSEND_BUNDLE,
  IOSQE_BUFFER_SELECT,
} from '@ouro/native/abi';
import {
  BufferRing,
  END_OF_STREAM,
  invalidType,
  NO_OPTIONS,
  NO_RESULT,
  Op,
  type OpKind,
  opKind,
  type RingLease,
  reactor,
  type Target,
} from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';

/** Bytes in memory of their own; the buffers are given back at once. */
const COPIED = opKind<Buffer>('recv', {
  passes: ENOBUFS,
  error: failed,
  endsWithHandle: true,
  decode: (result, op, _slot, cqeFlags) => {
    const lease = leased(result, op, cqeFlags);
    if (lease === null) return result === 0 ? END_OF_STREAM : NO_RESULT;
    try {
      return lease.copy();
    } finally {
      lease[Symbol.dispose]();
    }
  },
  drop: () => {},
});

/** The buffers themselves. */
const LEASED = opKind<RingLease>('recv', {
  passes: ENOBUFS,
  error: failed,
  endsWithHandle: true,
  decode: (result, op, _slot, cqeFlags) =>
    leased(result, op, cqeFlags) ?? (result === 0 ? END_OF_STREAM : NO_RESULT),
  drop: (lease) => lease[Symbol.dispose](),
});

/** A receive that was waiting when its ring was closed says ENOENT, one that is begun afterwards ENOBUFS. */
function failed(errno: number, op: Op<unknown>): Error {
  const lost = errno === ENOENT && (op as RecvMultishot<unknown>).ring.closed;
  return socketError(lost ? ENOBUFS : errno, 'recv');
}

/** What a completion has brought; null for the end of the stream and for a ring that had no buffer. */
function leased(result: number, op: Op<unknown>, cqeFlags: number): RingLease | null {
  const { ring } = op as RecvMultishot<unknown>;
  if (result > 0) {
    const lease = ring.lease(cqeFlags, result);
    // A bundle that took all buffers ends the receive without a word.
    if (ring.available === 0 && (cqeFlags & IORING_CQE_F_MORE) === 0) ring.starve();
    return lease;
  }
  if (result < 0) {
    if (ring.closed) throw socketError(ENOBUFS, 'recv');
    ring.starve();
  }
  return null;
}

class RecvMultishot<T> extends Op<T> {
  readonly ring: BufferRing;

  constructor(kind: OpKind<T>, ring: BufferRing, ioprio: number) {
    super(kind, IORING_OP_RECV);
    this.ring = ring;
    this.flags = IOSQE_BUFFER_SELECT;
    this.ioprio = IORING_RECV_MULTISHOT | ioprio;
    this.hold = ring;
  }

  override place(slot: number): void {
    this.buf = this.ring.group;
    this.ring.usedBy(slot);
  }

  override ready(resume: () => void): boolean {
    return this.ring.ready(resume);
  }
}

/** What a receive into a ring brings. */
export interface ProvidedOptions {
  /**
   * Bring `RingLease`s of the ring's own memory instead of copies. Each must be disposed: when all buffers are lent, receiving
   * waits for one. @default false
   */
  readonly lease?: boolean;
}

/**
 * One receive for all that arrives on a socket (6.0), into buffers that the kernel takes from `ring` when it needs them;
 * for `stream`. The stream ends where the connection does. When the ring has run dry it goes on as soon as a buffer is
 * given back, or the ring has grown.
 */
export function recvMultishot(fd: Target, ring: BufferRing, options?: { readonly lease?: false }): Op<Buffer>;
export function recvMultishot(fd: Target, ring: BufferRing, options: { readonly lease: true }): Op<RingLease>;
export function recvMultishot(
  fd: Target,
  ring: BufferRing,
  options: ProvidedOptions = NO_OPTIONS,
): Op<Buffer> | Op<RingLease> {
  return receiving(fd, ring, options, 0);
}

/**
 * The same, where one completion may cover several buffers (6.10, `IORING_RECVSEND_BUNDLE`): fewer completions for large
 * transfers. Make the ring with `incremental: false` for it: from other rings, and on older kernels, it is `recvMultishot`.
 */
export function recvBundle(fd: Target, ring: BufferRing, options?: { readonly lease?: false }): Op<Buffer>;
export function recvBundle(fd: Target, ring: BufferRing, options: { readonly lease: true }): Op<RingLease>;
export function recvBundle(
  fd: Target,
  ring: BufferRing,
  options: ProvidedOptions = NO_OPTIONS,
): Op<Buffer> | Op<RingLease> {
  checkRing(ring);
  // The last completion of a bundle that took all buffers may come behind those of receives that began later: in a
  // buffer that several fill piece by piece nobody could tell whose bytes are where.
  const bundles = (reactor().ring.features & IORING_FEAT_RECVSEND_BUNDLE) !== 0 && !ring.incremental;
  return receiving(fd, ring, options, bundles ? IORING_RECVSEND_BUNDLE : 0);
}

function receiving(
  fd: Target,
  ring: BufferRing,
  { lease = false }: ProvidedOptions,
  ioprio: number,
): Op<Buffer> | Op<RingLease> {
  checkRing(ring);
  return lease
    ? new RecvMultishot(LEASED, ring, ioprio).on(fd)
    : new RecvMultishot(COPIED, ring, ioprio).on(fd);
}

function checkRing(ring: unknown): asserts ring is BufferRing {
  if (!(ring instanceof BufferRing)) throw invalidType('ring', 'an instance of BufferRing', ring);
}
