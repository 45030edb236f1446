import { describe, type SystemError } from '@ouro/runtime/driver';

/** A failed call on a connected socket, as Node words it: `read ECONNRESET`. */
export function socketError(errno: number, syscall: string): SystemError {
  const [code] = describe(errno);
  return Object.assign(new Error(`${syscall} ${code}`), { errno, code, syscall });
}

/** Two want the same bytes. */
export function busyError(): Error {
  return Object.assign(new Error('Another read of this stream is waiting'), { code: 'ERR_INVALID_STATE' });
}

/** An error that has to do with an address. */
export interface AddressError extends SystemError {
  readonly address: string;
  /** Not there if it is 0, as in Node. */
  readonly port?: number;
}

/** A failed connect, as Node words it: `connect ECONNREFUSED 127.0.0.1:80`. */
export function connectError(errno: number, address: string, port: number): AddressError {
  return addressError(errno, 'connect', address, port);
}

/** A failed call that has to do with an address, as Node words it: `bind EADDRINUSE 127.0.0.1:80`. */
export function addressError(errno: number, syscall: string, address: string, port: number): AddressError {
  const [code] = describe(errno);
  const error = new Error(`${syscall} ${code} ${hostPort(address, port)}`);
  return Object.assign(error, { errno, code, syscall, ...place(address, port) });
}

/** None of a name's addresses could be connected to: as Node, with the first failure's code. */
export function connectErrors(errors: readonly SystemError[], host: string, port: number): AggregateError {
  const message = `connect to ${hostPort(host, port)} failed: ${errors.map((error) => error.message).join('; ')}`;
  return Object.assign(new AggregateError(errors, message), { code: errors[0]?.code });
}

/** A failed bind or listen, as Node words it: `listen EADDRINUSE: address already in use 127.0.0.1:80`. */
export function listenError(errno: number, address: string, port: number): AddressError {
  const [code, description] = describe(errno);
  const error = new Error(`listen ${code}: ${description} ${hostPort(address, port)}`);
  return Object.assign(error, { errno, code, syscall: 'listen', ...place(address, port) });
}

const hostPort = (address: string, port: number): string => (port > 0 ? `${address}:${port}` : address);

const place = (address: string, port: number): { address: string; port?: number } =>
  port > 0 ? { address, port } : { address };
