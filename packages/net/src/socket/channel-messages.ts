import type { SocketListener } from './socket-listener.ts';
import type { SocketStream } from './socket-stream.ts';

/** The message of `ouro.net.connect` and `ouro.net.close`. */
export interface StreamMessage {
  readonly stream: SocketStream;
}

/** The message of `ouro.net.connect.error`. */
export interface ConnectErrorMessage {
  readonly host: string;
  readonly port: number;
  readonly error: unknown;
}

/** The message of `ouro.net.accept`. */
export interface AcceptMessage extends StreamMessage {
  readonly listener: SocketListener<SocketStream>;
}

/** The message of `ouro.net.listen`. */
export interface ListenMessage {
  readonly listener: SocketListener<SocketStream>;
}
