import {
  ENOBUFS,
  IORING_OP_SEND,
  IORING_OP_SENDMSG,
  IORING_RECVSEND_BUNDLE,
  IOSQE_BUFFER_SELECT,
  MSG_NOSIGNAL,
  MSG_WAITALL,
} from '@ouro/native/abi';
import { type BufferGroup, invalidType, Op, opKind, type Target } from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';
import { Message, type Parts } from './msghdr.ts';
import { SendRing } from './send-ring.ts';

const FLAGS = MSG_NOSIGNAL | MSG_WAITALL;

const SEND = opKind<number>('send', {
  passes: ENOBUFS, // nothing waits
  error: (errno) => socketError(errno, 'send'),
  endsWithHandle: true,
  decode: (result, op) => {
    const count = Math.max(result, 0);
    (op as SendBundle | SendAll).ring.sent(count);
    return count;
  },
});

class SendBundle extends Op<number> {
  readonly ring: SendRing;
  readonly #group: BufferGroup;

  constructor(ring: SendRing, group: BufferGroup) {
    super(SEND, IORING_OP_SEND, 0, 0, 0, FLAGS);
    this.ring = ring;
    this.#group = group;
    this.flags = IOSQE_BUFFER_SELECT;
    this.ioprio = IORING_RECVSEND_BUNDLE;
  }

  override place(slot: number): void {
    this.buf = this.#group.id;
    this.ring.prepare(this.#group, slot);
  }
}

const NOTHING: Parts = { iovecs: [], hold: [], total: 0 };

class SendAll extends Message<number> {
  readonly ring: SendRing;

  constructor(ring: SendRing) {
    super(SEND, IORING_OP_SENDMSG, NOTHING, 0, null, FLAGS);
    this.ring = ring;
  }

  override place(slot: number): void {
    this.use({ iovecs: this.ring.iovecs(), hold: [], total: this.ring.length });
    super.place(slot);
  }
}

/**
 * Sends all that waits in `ring`, in order, with one op (6.10, `IORING_RECVSEND_BUNDLE`; before that a `sendmsg`). Resolves to the bytes sent, 0 if nothing waited; when it is given up on the way the rest stays in the ring.
 * Have only one in flight for each ring, or their bytes may change places.
 */
export function sendBundle(fd: Target, ring: SendRing): Op<number> {
  if (!(ring instanceof SendRing)) throw invalidType('ring', 'an instance of SendRing', ring);
  const { group } = ring;
  const op = group === null ? new SendAll(ring) : new SendBundle(ring, group);
  op.hold = ring;
  return op.on(fd);
}
