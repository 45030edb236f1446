import { ECANCELED } from '@ouro/native/abi';
import { asBytes, type Bytes } from '@ouro/runtime/driver';
import { socketError } from '../errors.ts';
import type { ReceivedDatagram } from '../op/recvfrom.ts';
import type { Datagram, LeasedDatagram } from './datagram.ts';
import type { DatagramQueue } from './datagram-queue.ts';

/** What somebody who waits makes of a queue that is not empty; of the end of it where it is null. */
export type Take<T> = (queue: DatagramQueue | null) => T;

/** What a step of an iteration brings. */
export type Result<T> = IteratorResult<T, undefined>;

/** The end of an iteration. */
export const END = { done: true, value: undefined } as const;

export const nextOwned: Take<Result<Datagram>> = (queue) =>
  queue === null ? END : { done: false, value: queue.shift().owned() };

export const nextLent: Take<Result<LeasedDatagram>> = (queue) =>
  queue === null ? END : { done: false, value: queue.shift() };

export const allOwned: Take<Result<Datagram[]>> = (queue) =>
  queue === null ? END : { done: false, value: queue.shiftAll().map((packet) => packet.owned()) };

export const allLent: Take<Result<LeasedDatagram[]>> = (queue) =>
  queue === null ? END : { done: false, value: queue.shiftAll() };

/** Copies the first to where it is wanted: memory that is gone by then costs none. */
export function into(buffer: Bytes): Take<ReceivedDatagram> {
  return (queue) => {
    if (queue === null) throw socketError(ECANCELED, 'recvmsg');
    const packet = queue.shift();
    let target: Uint8Array;
    try {
      target = asBytes(buffer);
    } catch (error) {
      queue.unshift(packet);
      throw error;
    }
    const { data, address, size, segmentSize } = packet;
    const bytes = Math.min(data.length, target.length);
    target.set(data.subarray(0, bytes));
    packet[Symbol.dispose]();
    return { bytes, address, truncated: bytes < size, size, segmentSize };
  };
}
