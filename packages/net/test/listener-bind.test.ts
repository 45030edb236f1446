import { promises as dns } from 'node:dns';
import net from 'node:net';
import { IPPROTO_TCP, TCP_NODELAY } from '@ouro/native/abi';
import { type BindOptions, TcpListener, TcpStream } from '@ouro/net';
import { reactor } from '@ouro/runtime/driver';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { failure, leavesNothing, sockets, type Told, told } from './support.ts';

/** How a server of node:net fails to listen. */
function nodeFailure(options: net.ListenOptions): Promise<Told> {
  return new Promise((failed) => {
    net
      .createServer()
      .once('error', (error) => failed(told(error)))
      .listen(options);
  });
}

const reaches = async (host: string, port: number): Promise<boolean> => {
  try {
    const stream = await TcpStream.connect({ host, port });
    await stream.close();
    return true;
  } catch {
    return false;
  }
};

afterEach(() => vi.restoreAllMocks());

describe('TcpListener.bind', () => {
  it('lets the kernel choose a port, and says which', async () => {
    await using listener = await TcpListener.bind({ host: '127.0.0.1', port: 0 });
    const { address, port, family } = listener.address;
    expect({ address, family }).toEqual({ address: '127.0.0.1', family: 'IPv4' });
    expect(port).toBeGreaterThan(0);
    expect(listener.fd).toBeGreaterThan(2);
  });

  it('takes the port it is given', async () => {
    const first = await TcpListener.bind({ host: '127.0.0.1' });
    const { port } = first.address;
    await first.close();
    await using second = await TcpListener.bind({ host: '127.0.0.1', port });
    expect(second.address.port).toBe(port);
  });

  it('listens on all addresses of IPv6 and IPv4 if no host is given', async () => {
    await using listener = await TcpListener.bind();
    const { address, port, family } = listener.address;
    expect({ address, family }).toEqual({ address: '::', family: 'IPv6' });
    expect([await reaches('127.0.0.1', port), await reaches('::1', port)]).toEqual([true, true]);
  });

  it('takes the empty host for none, as node:net does', async () => {
    await using listener = await TcpListener.bind({ host: '' });
    expect(listener.address.address).toBe('::');
  });

  it('listens on IPv4 only at an IPv4 address', async () => {
    await using listener = await TcpListener.bind({ host: '0.0.0.0' });
    const { port } = listener.address;
    expect([await reaches('127.0.0.1', port), await reaches('::1', port)]).toEqual([true, false]);
  });

  it('listens on IPv6 only with ipv6Only', async () => {
    await using listener = await TcpListener.bind({ host: '::', ipv6Only: true });
    const { port } = listener.address;
    expect([await reaches('127.0.0.1', port), await reaches('::1', port)]).toEqual([false, true]);
  });

  it('listens on one IPv6 address', async () => {
    await using listener = await TcpListener.bind({ host: '::1' });
    expect(listener.address).toMatchObject({ address: '::1', family: 'IPv6' });
    expect(await reaches('::1', listener.address.port)).toBe(true);
  });

  it('resolves a name', async () => {
    await using listener = await TcpListener.bind({ host: 'localhost' });
    expect(['127.0.0.1', '::1']).toContain(listener.address.address);
  });

  it('listens on 0.0.0.0 where there is no IPv6', async () => {
    const { addon } = reactor();
    const EAFNOSUPPORT = -97;
    const real = addon.socket;
    vi.spyOn(addon, 'socket')
      .mockImplementationOnce(() => EAFNOSUPPORT)
      .mockImplementation(real);
    await using listener = await TcpListener.bind();
    expect(listener.address).toMatchObject({ address: '0.0.0.0', family: 'IPv4' });
  });

  it('shares a port among listeners that all set reusePort', async () => {
    await using first = await TcpListener.bind({ host: '127.0.0.1', reusePort: true });
    const { port } = first.address;
    await using second = await TcpListener.bind({ host: '127.0.0.1', port, reusePort: true });
    expect(second.address).toEqual(first.address);
  });

  it('shares no port otherwise', async () => {
    await using first = await TcpListener.bind({ host: '127.0.0.1' });
    const { port } = first.address;
    expect(await failure(TcpListener.bind({ host: '127.0.0.1', port, reusePort: true }))).toMatchObject({
      code: 'EADDRINUSE',
    });
  });

  // With SQPOLL a close has ended before the kernel's thread lets go of the port.
  it.skipIf((process.env.OURO_SQPOLL ?? '0') !== '0')(
    'listens again on a port whose old connections linger',
    async () => {
      const first = await TcpListener.bind({ host: '127.0.0.1' });
      const { port } = first.address;
      const [server, client] = await Promise.all([
        first.accept(),
        TcpStream.connect({ host: '127.0.0.1', port }),
      ]);
      // Who closes first keeps the port in TIME_WAIT.
      await server.close();
      await client.close();
      await first.close();
      await using second = await TcpListener.bind({ host: '127.0.0.1', port });
      expect(second.address.port).toBe(port);
    },
  );

  it('gives TCP_NODELAY to all connections with noDelay, and to none without', async () => {
    const delays: number[] = [];
    for (const noDelay of [true, false, undefined]) {
      await using listener = await TcpListener.bind({ host: '127.0.0.1', noDelay });
      const { port } = listener.address;
      const connecting = TcpStream.connect({ host: '127.0.0.1', port });
      await using server = await listener.accept();
      await using _client = await connecting;
      delays.push(reactor().addon.getsockopt(server.fd, IPPROTO_TCP, TCP_NODELAY));
    }
    expect(delays).toEqual([1, 0, 0]);
  });

  it('is cancelled by a signal that was aborted before, and opens nothing', async () => {
    const before = sockets();
    const reason = new Error('not any more');
    const bound = TcpListener.bind({ host: '127.0.0.1', signal: AbortSignal.abort(reason) });
    await expect(bound).rejects.toMatchObject({ name: 'AbortError', code: 'ABORT_ERR', cause: reason });
    expect(sockets()).toBe(before);
  });

  it.each([undefined, '127.0.0.1', '::1'])(
    'is cancelled in the turn in which it began, at %s',
    async (host) => {
      const before = sockets();
      const bound = TcpListener.bind({ host });
      bound.cancel('at once');
      await expect(bound).rejects.toMatchObject({ name: 'AbortError', cause: 'at once' });
      expect(sockets()).toBe(before);
    },
  );

  it('is cancelled while it looks the name up', async () => {
    vi.spyOn(dns, 'lookup').mockReturnValue(new Promise<never>(() => {}));
    const before = sockets();
    const bound = TcpListener.bind({ host: 'name.test' });
    bound.cancel('enough');
    await expect(bound).rejects.toMatchObject({ name: 'AbortError', cause: 'enough' });
    expect(sockets()).toBe(before);
  });
});

describe('a bind that fails', () => {
  it('says EADDRINUSE as node:net does', async () => {
    await using taken = await TcpListener.bind({ host: '127.0.0.1' });
    const { port } = taken.address;
    const error = await failure(TcpListener.bind({ host: '127.0.0.1', port }));
    expect(error).toEqual(await nodeFailure({ host: '127.0.0.1', port }));
    expect(error).toEqual({
      message: `listen EADDRINUSE: address already in use 127.0.0.1:${port}`,
      code: 'EADDRINUSE',
      errno: -98,
      syscall: 'listen',
      address: '127.0.0.1',
      port,
    });
  });

  it.each([undefined, '::', '::1', '0.0.0.0', 'localhost'])(
    'says EADDRINUSE as node:net does at %s',
    async (host) => {
      await using taken = await TcpListener.bind(host === undefined ? {} : { host });
      const { port } = taken.address;
      const options = host === undefined ? { port } : { host, port };
      expect(await failure(TcpListener.bind(options))).toEqual(await nodeFailure(options));
    },
  );

  it.each([0, 8080])('says EADDRNOTAVAIL as node:net does, for port %i', async (port) => {
    const options = { host: '127.0.0.1', port };
    const elsewhere = { ...options, host: '203.0.113.1' };
    expect(await failure(TcpListener.bind(elsewhere))).toEqual(await nodeFailure(elsewhere));
    expect(await failure(TcpListener.bind(elsewhere))).toMatchObject({ code: 'EADDRNOTAVAIL' });
  });

  it('says EACCES as node:net does, and at the same address', async () => {
    const { stdout, stderr } = await runProgram(
      `
      import net from 'node:net';
      import { TcpListener } from '@ouro/net';
      const told = (error) => ({ message: error.message, ...error });
      const all = [];
      for (const options of [{ port: 1 }, { port: 1, host: '127.0.0.1' }]) {
        const ours = await TcpListener.bind(options).then(() => 'bound', told);
        const theirs = await new Promise((done) => net.createServer().on('error', (e) => done(told(e))).listen(options));
        all.push([ours, theirs]);
      }
      console.log(JSON.stringify(all));
    `,
      { under: ['setpriv', '--inh-caps=-all', '--bounding-set=-all'] },
    );
    expect(stderr).toBe('');
    for (const [ours, theirs] of JSON.parse(stdout)) expect(ours).toEqual(theirs);
    expect(JSON.parse(stdout)[0][0].message).toBe('listen EACCES: permission denied 0.0.0.0:1');
  });

  it('passes on what the look-up of the name says', async () => {
    const error = Object.assign(new Error('getaddrinfo ENOTFOUND name.test'), { code: 'ENOTFOUND' });
    vi.spyOn(dns, 'lookup').mockRejectedValue(error);
    await expect(TcpListener.bind({ host: 'name.test' })).rejects.toBe(error);
  });

  it('leaves no descriptor behind', async () => {
    await leavesNothing(async () => {
      await using taken = await TcpListener.bind({ host: '127.0.0.1' });
      const { port } = taken.address;
      for (let i = 0; i < 50; i++) await failure(TcpListener.bind({ host: '127.0.0.1', port }));
    });
  });
});

describe('bad arguments of bind', () => {
  const bad: [what: string, options: unknown, kind: typeof TypeError | typeof RangeError, code: string][] = [
    ['a port above 65535', { port: 70_000 }, RangeError, 'ERR_SOCKET_BAD_PORT'],
    ['a port below 0', { port: -1 }, RangeError, 'ERR_SOCKET_BAD_PORT'],
    ['a port that is no integer', { port: 80.5 }, RangeError, 'ERR_SOCKET_BAD_PORT'],
    ['a port that is NaN', { port: Number.NaN }, RangeError, 'ERR_SOCKET_BAD_PORT'],
    ['a port that is a string', { port: '80' }, TypeError, 'ERR_INVALID_ARG_TYPE'],
    ['a host that is a number', { host: 5 }, TypeError, 'ERR_INVALID_ARG_TYPE'],
    ['a host that is null', { host: null }, TypeError, 'ERR_INVALID_ARG_TYPE'],
    ['a backlog below 0', { backlog: -1 }, RangeError, 'ERR_OUT_OF_RANGE'],
    ['a backlog that is a string', { backlog: '5' }, TypeError, 'ERR_INVALID_ARG_TYPE'],
    ['a backlog that is no integer', { backlog: 1.5 }, RangeError, 'ERR_OUT_OF_RANGE'],
    ['a signal that is none', { signal: {} }, TypeError, 'ERR_INVALID_ARG_TYPE'],
    ['options that are null', null, TypeError, 'ERR_INVALID_ARG_TYPE'],
    ['options that are a number', 80, TypeError, 'ERR_INVALID_ARG_TYPE'],
  ];

  it.each(bad)('%s is thrown at once, before anything is opened', (_what, options, kind, code) => {
    const before = sockets();
    const bind = (): unknown => TcpListener.bind(options as BindOptions);
    expect(bind).toThrow(kind);
    expect(bind).toThrow(expect.objectContaining({ code }));
    expect(sockets()).toBe(before);
  });
});
