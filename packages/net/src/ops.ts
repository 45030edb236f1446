/**
 * The kernel's socket ops, one SQE each, for `submit`, `chain`, `batch` and `stream` of `@ouro/runtime`. Programs that only
 * want connections use `@ouro/net`.
 */

export { BufferRing, type BufferRingOptions, type RingLease } from '@ouro/runtime/driver';
export { type AcceptOptions, accept, acceptMultishot } from './op/accept.ts';
export { connect } from './op/connect.ts';
export { recv, type TransferOptions } from './op/recv.ts';
export { type ProvidedOptions, recvBundle, recvMultishot } from './op/recv-multishot.ts';
export { type Received, type RecvmsgOptions, recvmsg } from './op/recvmsg.ts';
export {
  type LeasedRingMessage,
  type RecvmsgMultishotOptions,
  type RingMessage,
  recvmsgMultishot,
} from './op/recvmsg-multishot.ts';
export { send } from './op/send.ts';
export { sendBundle } from './op/send-bundle.ts';
export { SendRing } from './op/send-ring.ts';
export { type SendmsgOptions, sendmsg } from './op/sendmsg.ts';
export { shutdown } from './op/shutdown.ts';
export { bind, listen, socket } from './op/socket.ts';
export { getsockopt, setsockopt, siocinq, siocoutq } from './op/sockopt.ts';
export { type Reporting, sendmsgZc, sendZc, type ZeroCopied } from './op/zero-copy.ts';
export type { Address, InetAddress, UnixAddress } from './sockaddr.ts';
