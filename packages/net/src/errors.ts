import { describe, type SystemError } from '@ouro/runtime/driver';

/** A failed call on a connected socket, as Node words it: `read ECONNRESET`. */
export function socketError(errno: number, syscall: string): SystemError {
  const [code] = describe(errno);
  return Object.assign(new Error(`${syscall} ${code}`), { errno, code, syscall });
}

/** An error that has to do with an address. */
export interface AddressError extends SystemError {
  readonly address: string;
  readonly port: number;
}

/** A failed connect, as Node words it: `connect ECONNREFUSED 127.0.0.1:80`. */
export function connectError(errno: number, address: string, port: number): AddressError {
  return Object.assign(socketError(errno, 'connect'), {
    message: `connect ${describe(errno)[0]} ${hostPort(address, port)}`,
    address,
    port,
  });
}

/** A failed bind or listen, as Node words it: `listen EADDRINUSE: address already in use 127.0.0.1:80`. */
export function listenError(errno: number, address: string, port: number): AddressError {
  const [code, description] = describe(errno);
  return Object.assign(socketError(errno, 'listen'), {
    message: `listen ${code}: ${description} ${hostPort(address, port)}`,
    address,
    port,
  });
}

const hostPort = (address: string, port: number): string => (port > 0 ? `${address}:${port}` : address);
