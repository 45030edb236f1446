import { MAX_RW_COUNT } from '@ouro/native/abi';
import { awaitFast } from './future.ts';
import { Operation, type OpKind, submit } from './operation.ts';
import { reactor } from './reactor.ts';

const EIO = -5;

/** In the place of a position, where there is none. */
export const SOCKET = -2;

/** When a transfer goes on after the kernel moved fewer bytes than asked. */
export type Until =
  /** Until all is moved: for writing and sending. */
  | 'all'
  /** Only when the kernel's own limit for one call cut it: a short read is the end of the file, or all there is. */
  | 'short';

/**
 * Moves bytes between the kernel and one stretch of memory, in as many ops as it takes, as one future of their
 * number. A failure or cancellation on the way says how many bytes had moved (`bytesTransferred`).
 */
export class Transfer extends Operation<number> {
  readonly #head: number;
  readonly #fd: number;
  readonly #position: number;
  readonly #address: number;
  readonly #length: number;
  readonly #opFlags: number;
  readonly #until: Until;
  #moved = 0;

  /**
   * @param head opcode, flags and ioprio as in `Reactor.push`
   * @param position byte of the file, -1 for the current one, or `SOCKET`
   * @param hold keeps the memory at `address` alive
   */
  constructor(
    kind: OpKind<number>,
    until: Until,
    hold: unknown,
    head: number,
    fd: number,
    position: number,
    address: number,
    length: number,
    opFlags = 0,
  ) {
    super(kind, hold, null);
    this.#until = until;
    this.#head = head;
    this.#fd = fd;
    this.#position = position;
    this.#address = address;
    this.#length = length;
    this.#opFlags = opFlags;
  }

  /** Queues it. */
  start(): this {
    const moved = this.#moved;
    // For a socket the field is another one (addr2), and must be 0.
    const position =
      this.#position >= 0 ? this.#position + moved : this.#position === SOCKET ? 0 : this.#position;
    return submit(
      this,
      reactor().take(this),
      this.#head,
      this.#fd,
      position,
      this.#address + moved,
      Math.min(this.#length - moved, MAX_RW_COUNT),
      this.#opFlags,
    );
  }

  override complete(result: number, _flags: number): void {
    if (result < 0) {
      this.settleFailure(result, this.#moved);
      return;
    }
    const moved = this.#moved + result;
    this.#moved = moved;
    if (moved === this.#length || (this.#until === 'short' && result !== MAX_RW_COUNT)) this.settle(moved);
    // A write that moves nothing would be tried for ever.
    else if (result === 0) this.settleFailure(EIO, moved);
    else if (this.cancelled) this.settleFailure(-125, moved);
    else this.#again(moved);
  }

  #again(moved: number): void {
    try {
      this.start();
    } catch (error) {
      // The kernel takes no more ops.
      this.settleFailure((error as { errno?: number }).errno ?? EIO, moved);
    }
  }
}
awaitFast(Transfer);
