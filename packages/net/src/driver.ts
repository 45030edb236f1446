/**
 * The door for packages that drive datagram sockets by ops of their own, as `@ouro/adapters` does: how messages lie in memory.
 * Programs use `@ouro/net`.
 */

export type { SocketAddress } from './address.ts';
export {
  INLINE_AT,
  MOST_INLINE,
  placeToReceive,
  placeToSend,
  readReceived,
  type Told,
} from './op/datagram-header.ts';
export { MessageHead, placeRooms, type Rooms } from './op/recvmsg-out.ts';
export { type Family, peerAt } from './peers.ts';
export { ReceiveInFlight } from './socket/receive-in-flight.ts';
export { MOST_DATAGRAM, ROOMS, sharedBuffers } from './udp/datagram-buffers.ts';
export { membership, type Setting, sendingInterface, sourceMembership } from './udp/multicast.ts';
