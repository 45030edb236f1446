export type { SocketAddress } from './address.ts';
export type { AddressError } from './errors.ts';
export { type BindOptions, TcpListener } from './tcp-listener.ts';
export { type ConnectOptions, TcpStream } from './tcp-stream.ts';
