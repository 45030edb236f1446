import { transferredError } from '../errors.ts';
import type { Packet } from './datagram.ts';

const isPacket = (entry: Packet | Error): entry is Packet => !(entry instanceof Error);

/** What a datagram costs beside its bytes, so that empty ones count too. */
const OVERHEAD = 256;

const costOf = ({ length }: Packet): number => length + OVERHEAD;

/** Datagrams that have arrived, and failures of receiving, in the order in which they came. */
export class DatagramQueue {
  #entries: (Packet | Error)[] = [];
  /** Index of the first that has not been taken; the array is emptied when it catches up. */
  #first = 0;
  #bytes = 0;

  /** How many there are. */
  get length(): number {
    return this.#entries.length - this.#first;
  }

  /** What the datagrams cost. */
  get bytes(): number {
    return this.#bytes;
  }

  push(packet: Packet): void {
    this.#entries.push(packet);
    this.#bytes += costOf(packet);
  }

  fail(error: Error): void {
    this.#entries.push(error);
  }

  /** Takes the first, which must be there. @throws what has failed, if that is what came, or that it and others are lost */
  shift(): Packet {
    const next = this.#entries[this.#first];
    if (isPacket(next) && next.lost) {
      this.#dropLost();
      throw transferredError();
    }
    this.#first++;
    if (this.#first === this.#entries.length) {
      this.#entries = [];
      this.#first = 0;
    }
    if (next instanceof Error) throw next;
    this.#bytes -= costOf(next);
    return next;
  }

  /** Takes all up to the next failure. @throws that if it is the first */
  shiftAll(): Packet[] {
    const all = [this.shift()];
    while (this.length > 0) {
      const next = this.#entries[this.#first];
      if (!isPacket(next) || next.lost) break;
      all.push(this.shift());
    }
    return all;
  }

  #dropLost(): void {
    const left = this.#entries.slice(this.#first);
    this.#entries = left.filter((each) => !isPacket(each) || !each.lost);
    this.#first = 0;
    for (const each of left) {
      if (!isPacket(each) || !each.lost) continue;
      this.#bytes -= costOf(each);
      each[Symbol.dispose]();
    }
  }

  /** Puts back what could not be taken. */
  unshift(packet: Packet): void {
    this.#bytes += costOf(packet);
    if (this.#first > 0) this.#entries[--this.#first] = packet;
    else this.#entries.unshift(packet);
  }

  /** Drops everything; leases are given back. */
  clear(): void {
    const left = this.#entries.slice(this.#first);
    this.#entries = [];
    this.#first = 0;
    this.#bytes = 0;
    for (const each of left) if (isPacket(each)) each[Symbol.dispose]();
  }
}
