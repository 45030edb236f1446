import { ETIMEDOUT } from '@ouro/native/abi';
import {
  type AbortError,
  cancellation,
  describe,
  Expired,
  expired,
  type SystemError,
  type TimeoutError,
} from '@ouro/runtime/driver';

/** A failed call on a connected socket, as Node words it: `read ECONNRESET`. */
export function socketError(errno: number, syscall: string): SystemError {
  const [code] = describe(errno);
  return Object.assign(new Error(`${syscall} ${code}`), { errno, code, syscall });
}

/**
 * What a wait for a socket rejects with that has been given up: `read ETIMEDOUT: the operation timed out after 20 ms` if its time has
 * run out, else an `AbortError`.
 *
 * @param place whom it has to do with, as far as that is known
 */
export function givenUp(
  reason: unknown,
  syscall: string,
  bytesTransferred = 0,
  place?: { readonly address: string; readonly port: number },
): AbortError | TimeoutError {
  if (!(reason instanceof Expired)) return cancellation(reason, bytesTransferred);
  const error =
    place === undefined
      ? socketError(ETIMEDOUT, syscall)
      : addressError(ETIMEDOUT, syscall, place.address, place.port);
  error.message += `: ${reason.words}`;
  return expired(error, reason, bytesTransferred);
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

/** What is no numeric address, as Node words it. */
export function invalidAddress(address: unknown): TypeError {
  return Object.assign(new TypeError(`Invalid IP address: ${String(address)}`), {
    code: 'ERR_INVALID_IP_ADDRESS',
  });
}

/** Adds our own end to the error of a connect, where the program has chosen it: as Node. (Its stack is made later.) */
export function localEnd(error: Error, localAddress: string, localPort: number): Error {
  if ((error as Partial<SystemError>).syscall !== 'connect') return error;
  error.message += ` - Local (${localAddress}:${localPort})`;
  return Object.assign(error, { localAddress, localPort });
}

/** None of a name's addresses could be connected to: as Node, with the first failure's code. */
export function connectErrors(errors: readonly Error[], host: string, port: number): AggregateError {
  const message = `connect to ${hostPort(host, port)} failed: ${errors.map((error) => error.message).join('; ')}`;
  return Object.assign(new AggregateError(errors, message), {
    code: (errors[0] as Partial<SystemError> | undefined)?.code,
  });
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

/** The peer has ended the stream where more had to come. */
export function unexpectedEnd(what: string, bytesTransferred = 0): Error {
  return Object.assign(
    new Error(`The stream has ended too early: ${what}`),
    { code: 'ERR_OURO_UNEXPECTED_END', syscall: 'read' },
    bytesTransferred === 0 ? {} : { bytesTransferred },
  );
}

/** What is told of bytes in memory that was lent, and that somebody has taken away. */
export function transferredError(): Error {
  return Object.assign(new Error('The memory of bytes that were lent was transferred to somebody else'), {
    code: 'ERR_INVALID_STATE',
  });
}
