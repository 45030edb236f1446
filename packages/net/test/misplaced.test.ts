import { TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream } from '@ouro/net';
import { describe, expect, it } from 'vitest';

describe('options that mean something elsewhere', () => {
  it.each<[string, () => unknown, RegExp]>([
    ['a path of a TCP listener', () => TcpListener.bind({ path: '/tmp/x' } as object), /UnixListener\.bind/],
    [
      'a path of a TCP stream',
      () => TcpStream.connect({ path: '/tmp/x', port: 1 } as never),
      /UnixStream\.connect/,
    ],
    [
      'keepAliveInitialDelay',
      () => TcpStream.connect({ port: 1, keepAliveInitialDelay: 5 } as never),
      /idle/,
    ],
    ['direct of a connect', () => TcpStream.connect({ port: 1, direct: true } as never), /accepted/],
    [
      'an idle timeout of a bind',
      () => TcpListener.bind({ idleTimeout: 1000 } as object),
      /stream\.idleTimeout = ms/,
    ],
    [
      'an idle timeout of a connect',
      () => UnixStream.connect({ path: '/tmp/x', idleTimeout: 1000 } as never),
      /stream\.idleTimeout = ms/,
    ],
    ['a key of a listener', () => TcpListener.bind({ key: 'k', cert: 'c' } as object), /in the clear/],
    [
      'rejectUnauthorized of a connect',
      () => TcpStream.connect({ port: 1, rejectUnauthorized: true } as never),
      /stream\.toTls/,
    ],
    [
      'maxConnections of a Unix listener',
      () => UnixListener.bind({ maxConnections: 9 } as object),
      /TcpListener\.bind/,
    ],
    ['a port of a Unix listener', () => UnixListener.bind({ port: 80 } as object), /TcpListener\.bind/],
    ['a mode of a port', () => TcpListener.bind({ mode: 0o600 } as object), /no permissions/],
    ['an idle timeout of a UDP socket', () => UdpSocket.bind({ idleTimeout: 9 } as object), /timeout/],
    ['an address of a UDP socket', () => UdpSocket.bind({ address: '127.0.0.1' } as object), /'host'/],
  ])('%s is refused, and told what it is here', (_what, body, message) => {
    expect(body).toThrow(TypeError);
    expect(body).toThrow(message);
  });

  it('are refused by loops and pipes too, and what else is unknown is ignored, as in Node', async () => {
    const [one, other] = UnixStream.pair();
    const misplaced = { idleTimeout: 1000 } as object;
    expect(() => one.chunks(misplaced)).toThrow(/stream\.idleTimeout/);
    expect(() => one.splitLines(misplaced)).toThrow(/stream\.idleTimeout/);
    expect(() => one.pipe({ writeAll: async () => {} }, misplaced)).toThrow(/stream\.idleTimeout/);
    expect(await one.writeAll('x', { colour: 'red' } as object)).toBe(1);
    await Promise.all([one.close(), other.close()]);
    await using listener = await TcpListener.bind({ host: '127.0.0.1', colour: 'red' } as object);
    expect(listener.connections).toBe(0);
  });

  it('a mode of a Unix socket that is no file is refused: everybody could connect', () => {
    for (const path of [undefined, '\0abstract']) {
      expect(() => UnixListener.bind({ path, mode: 0o600 })).toThrow(RangeError);
      expect(() => UnixDatagram.bind({ path, mode: 0o600 })).toThrow(RangeError);
    }
  });

  it('a handle is made by its functions', () => {
    expect(() => Reflect.construct(TcpStream, [])).toThrow(/TcpStream\.connect/);
  });
});
