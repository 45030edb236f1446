export type { WritableChunk } from '@ouro/runtime/driver';
export type { SocketAddress } from './address.ts';
export type { AddressError } from './errors.ts';
export type { Credentials } from './op/control.ts';
export type { ReceivedDatagram } from './op/recvfrom.ts';
export type { Destination } from './peers.ts';
export type { UnixAddress } from './sockaddr.ts';
export type {
  AcceptMessage,
  ConnectErrorMessage,
  ListenMessage,
  StreamMessage,
} from './socket/channel-messages.ts';
export type { ChunkLease } from './socket/chunk-lease.ts';
export type { Direction } from './socket/direction.ts';
export type { StreamDuplexOptions } from './socket/duplex.ts';
export type { LineOptions } from './socket/lines.ts';
export type { PipeOptions, PipeTarget } from './socket/pipe.ts';
export type { ChunkLoop, ChunkOptions, StreamLimits, UntilOptions } from './socket/readable-half.ts';
export type { SocketStream } from './socket/socket-stream.ts';
export type { ReadableOptions, WritableOptions } from './socket/web-streams.ts';
export type { WriteAllOptions } from './socket/writable-half.ts';
export type { ConnectOptions, LookupFunction } from './tcp/connect-options.ts';
export type { KeepAlive } from './tcp/keep-alive.ts';
export type { CongestionState, TcpInfo, TcpState } from './tcp/tcp-info.ts';
export { type BindOptions, TcpListener } from './tcp/tcp-listener.ts';
export { type Addresses, TcpStream } from './tcp/tcp-stream.ts';
export type { TlsClientOptions, TlsServerOptions, UpgradeOptions } from './tls/upgrade.ts';
export {
  type CopyBidirectionalOptions,
  copyBidirectional,
  type Relayed,
} from './transfer/copy-bidirectional.ts';
export type { NodeFile, SendFileOptions } from './transfer/send-file.ts';
export type { Datagram, LeasedDatagram } from './udp/datagram.ts';
export type { UdpReceiveOptions } from './udp/datagram-iterator.ts';
export type { DatagramData, UdpMessage, UdpSendOptions } from './udp/sending.ts';
export type { UdpBindOptions } from './udp/udp-options.ts';
export { UdpSocket } from './udp/udp-socket.ts';
export type { BindPathOptions, Stale } from './unix/bind-socket.ts';
export type {
  MaxDescriptors,
  MessageInfo,
  MessagesOptions,
  ReceivedMessage,
  ReceivedWithDescriptors,
  UnixMessage,
} from './unix/message-socket.ts';
export type { Passable } from './unix/passable.ts';
export type { ReceivedDescriptors } from './unix/received-descriptors.ts';
export { UnixDatagram, type UnixDatagramBindOptions } from './unix/unix-datagram.ts';
export { type UnixBindOptions, UnixListener } from './unix/unix-listener.ts';
export { UnixSeqpacket, UnixSeqpacketListener } from './unix/unix-seqpacket.ts';
export {
  type DescriptorsReceived,
  type ReceiveDescriptorsOptions,
  type UnixConnectOptions,
  UnixStream,
} from './unix/unix-stream.ts';
