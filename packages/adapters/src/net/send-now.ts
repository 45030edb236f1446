import { EAGAIN, MSG_DONTWAIT, MSG_MORE, MSG_NOSIGNAL } from '@ouro/native/abi';
import { lengthOf, reactor } from '@ouro/runtime/driver';

/** The most pieces that one system call sends. */
const MOST_PIECES = 64;

/**
 * Sends without the ring what the kernel takes without waiting.
 *
 * @returns how many bytes that is, or an errno if none could be sent
 */
export function sendNow(fd: number, pieces: readonly Uint8Array[]): number {
  const { addon } = reactor();
  let total = 0;
  for (let at = 0; at < pieces.length; at += MOST_PIECES) {
    const some = pieces.length <= MOST_PIECES ? pieces : pieces.slice(at, at + MOST_PIECES);
    const more = at + some.length < pieces.length ? MSG_MORE : 0;
    const sent = addon.send(fd, some.length === 1 ? some[0] : some, MSG_NOSIGNAL | MSG_DONTWAIT | more);
    if (sent < 0) return total > 0 || sent === EAGAIN ? total : sent;
    total += sent;
    if (some.reduce((sum, piece) => sum + lengthOf(piece), -sent) > 0) break;
  }
  return total;
}
