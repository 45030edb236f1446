import {
  EAGAIN,
  ECANCELED,
  ECONNABORTED,
  EINTR,
  EMFILE,
  ENFILE,
  ENOBUFS,
  ENOMEM,
  EPROTO,
  IORING_ACCEPT_MULTISHOT,
  IORING_CQE_F_MORE,
  IORING_OP_ACCEPT,
  SHUT_RDWR,
  SOCK_CLOEXEC,
} from '@ouro/native/abi';
import { type BatchEnd, type Completion, reactor } from '@ouro/runtime/driver';
import { after } from '../timers.ts';
import { callBack } from './ticks.ts';

const HEAD = IORING_OP_ACCEPT | (IORING_ACCEPT_MULTISHOT << 16);
/** How long to wait after the kernel had no descriptor or memory to give. */
const PAUSE_MS = 50;

const PASSING = new Set([EINTR, EAGAIN, EPROTO, ECONNABORTED]);
const SHORTAGE = new Set([EMFILE, ENFILE, ENOBUFS, ENOMEM]);

/** All connections that a listening descriptor gets: one multishot accept. */
export class Accepts implements Completion, BatchEnd {
  readonly resultIsFd = true;
  refed: boolean;
  readonly #fd: number;
  readonly #deliver: (fd: number) => void;
  readonly #failed: (errno: number) => void;
  readonly #arrived: number[] = [];
  #error = 0;
  #slot = -1;
  #awaiting = false;
  #pause: NodeJS.Timeout | null = null;
  #closed: (() => void) | null = null;

  /** @param failed told of what no connection is to blame for */
  constructor(fd: number, refed: boolean, deliver: (fd: number) => void, failed: (errno: number) => void) {
    this.#fd = fd;
    this.refed = refed;
    this.#deliver = deliver;
    this.#failed = failed;
    this.#arm();
  }

  #arm(): void {
    if (this.#slot >= 0 || this.#closed !== null) return;
    const r = reactor();
    const slot = r.take(this);
    r.push(slot, HEAD, this.#fd, 0, 0, 0, SOCK_CLOEXEC, 0, 0);
    this.#slot = slot;
  }

  complete(result: number, flags: number): void {
    const over = (flags & IORING_CQE_F_MORE) === 0;
    if (over) this.#slot = -1;
    if (this.#closed !== null) {
      if (result >= 0) reactor().discard(result);
      if (over) this.#closed();
      return;
    }
    if (result >= 0) this.#arrived.push(result);
    else if (SHORTAGE.has(result)) this.#rest();
    else if (!PASSING.has(result) && result !== ECANCELED) this.#error = result;
    if (!this.#awaiting) {
      this.#awaiting = true;
      reactor().afterBatch(this);
    }
  }

  #rest(): void {
    this.#pause ??= after(() => {
      this.#pause = null;
      this.#arm();
    }, PAUSE_MS);
    if (!this.refed) this.#pause.unref();
  }

  batchEnded(): void {
    this.#awaiting = false;
    for (const fd of this.#arrived.splice(0)) {
      if (this.#closed !== null) {
        reactor().discard(fd);
        continue;
      }
      callBack(() => {
        if (this.#closed === null) this.#deliver(fd);
        else reactor().discard(fd);
      });
    }
    if (this.#error !== 0 && this.#closed === null) {
      const errno = this.#error;
      this.#error = 0;
      callBack(() => this.#failed(errno));
      return;
    }
    if (this.#pause === null) this.#arm();
  }

  setRef(refed: boolean): void {
    this.refed = refed;
    if (this.#slot >= 0) reactor().setRef(this.#slot, refed);
    if (refed) this.#pause?.ref();
    else this.#pause?.unref();
  }

  /**
   * Accepts no more. @param shared whether others listen on the descriptor as well: else the socket listens no more from here on, and
   *   not only when the kernel has let go of the accept, because who connects next is to be refused
   */
  close(shared: boolean, then: () => void): void {
    this.#closed = then;
    if (!shared) reactor().addon.shutdown(this.#fd, SHUT_RDWR);
    if (this.#pause !== null) clearTimeout(this.#pause);
    if (this.#slot < 0) {
      then();
      return;
    }
    const r = reactor();
    r.setRef(this.#slot, true);
    r.cancel(this.#slot);
  }
}
