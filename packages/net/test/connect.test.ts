import { promises as dns } from 'node:dns';
import { IPPROTO_TCP, TCP_NODELAY } from '@ouro/native/abi';
import { type ConnectOptions, TcpListener, TcpStream } from '@ouro/net';
import { metrics } from '@ouro/runtime';
import { reactor } from '@ouro/runtime/driver';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { dial, failure, leavesNothing, listen, nodeServer, POLL, readExactly, sockets } from './support.ts';
import { deafPort, fullListener, lookUp, nodeFailure } from './tcp-support.ts';

afterEach(() => vi.restoreAllMocks());

describe('TcpStream.connect', () => {
  it('connects to a server of node:net', async () => {
    await using server = await nodeServer((socket) => socket.pipe(socket));
    await using stream = await TcpStream.connect({ host: '127.0.0.1', port: server.port });
    await stream.writeAll('hello');
    expect((await readExactly(stream, 5)).toString()).toBe('hello');
  });

  it('connects to a listener of ours', async () => {
    await using listener = await listen();
    const [server, client] = await Promise.all([listener.accept(), dial(listener)]);
    await client.writeAll('hello');
    expect((await readExactly(server, 5)).toString()).toBe('hello');
    await Promise.all([server.close(), client.close()]);
  });

  it('connects to localhost if no host is given', async () => {
    await using listener = await TcpListener.bind();
    for (const host of [undefined, '', 'localhost']) {
      await using stream = await TcpStream.connect({ host, port: listener.address.port });
      expect(['127.0.0.1', '::1']).toContain(stream.remoteAddress?.address);
    }
  });

  it('connects over IPv6', async () => {
    await using listener = await TcpListener.bind({ host: '::1' });
    const { port } = listener.address;
    await using stream = await TcpStream.connect({ host: '::1', port });
    expect(stream.remoteAddress).toEqual({ address: '::1', port, family: 'IPv6' });
  });

  it('knows both addresses, and the server knows the same', async () => {
    await using listener = await listen();
    const [server, client] = await Promise.all([listener.accept(), dial(listener)]);
    expect(client.remoteAddress).toEqual(listener.address);
    expect(client.localAddress).toMatchObject({ address: '127.0.0.1', family: 'IPv4' });
    expect(server.remoteAddress).toEqual(client.localAddress);
    expect(server.localAddress).toEqual(client.remoteAddress);
    await Promise.all([server.close(), client.close()]);
  });

  it('sets TCP_NODELAY with noDelay, and not without', async () => {
    await using listener = await listen();
    const { port } = listener.address;
    const delays: number[] = [];
    for (const noDelay of [true, false, undefined]) {
      await using stream = await TcpStream.connect({ host: '127.0.0.1', port, noDelay });
      delays.push(reactor().addon.getsockopt(stream.fd, IPPROTO_TCP, TCP_NODELAY));
    }
    expect(delays).toEqual([1, 0, 0]);
  });

  it("tries a name's addresses one after the other", async () => {
    await using listener = await listen();
    lookUp('::1', '127.0.0.1');
    await using stream = await TcpStream.connect({ host: 'name.test', port: listener.address.port });
    expect(stream.remoteAddress?.address).toBe('127.0.0.1');
  });

  it('is not cancelled any more once it is connected', async () => {
    await using listener = await listen();
    const controller = new AbortController();
    const { signal } = controller;
    const connecting = TcpStream.connect({ host: '127.0.0.1', port: listener.address.port, signal });
    await using stream = await connecting;
    connecting.cancel();
    controller.abort();
    await using server = await listener.accept();
    await server.writeAll('ok');
    expect((await readExactly(stream, 2)).toString()).toBe('ok');
  });
});

describe('a connect that fails', () => {
  it('says ECONNREFUSED as node:net does', async () => {
    using deaf = deafPort();
    const options = { host: '127.0.0.1', port: deaf.port };
    const error = await failure(TcpStream.connect(options));
    expect(error).toEqual(await nodeFailure(options));
    expect(error).toEqual({
      message: `connect ECONNREFUSED 127.0.0.1:${options.port}`,
      code: 'ECONNREFUSED',
      errno: -111,
      syscall: 'connect',
      address: '127.0.0.1',
      port: options.port,
    });
  });

  it('says it in the stack as well', async () => {
    using deaf = deafPort();
    const { port } = deaf;
    const error = await TcpStream.connect({ host: '127.0.0.1', port }).catch((reason: Error) => reason);
    expect(error).toHaveProperty(
      'stack',
      expect.stringContaining(`connect ECONNREFUSED 127.0.0.1:${port}\n`),
    );
  });

  it.each(['::1', 'localhost'])('says ECONNREFUSED as node:net does for %s', async (host) => {
    using deaf = deafPort(host === '::1' ? host : '127.0.0.1');
    const options = { host, port: deaf.port };
    expect(await failure(TcpStream.connect(options))).toEqual(await nodeFailure(options));
  });

  it('says ECONNREFUSED as node:net does for port 0', async () => {
    const options = { host: '127.0.0.1', port: 0 };
    expect(await failure(TcpStream.connect(options))).toEqual(await nodeFailure(options));
  });

  it("says why each of a name's addresses failed", async () => {
    using deaf = deafPort();
    const { port } = deaf;
    lookUp('127.0.0.1', '127.0.0.2');
    const error = await TcpStream.connect({ host: 'name.test', port }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(AggregateError);
    expect(error).toMatchObject({
      code: 'ECONNREFUSED',
      errors: [{ address: '127.0.0.1' }, { address: '127.0.0.2' }],
      message: `connect to name.test:${port} failed: connect ECONNREFUSED 127.0.0.1:${port}; connect ECONNREFUSED 127.0.0.2:${port}`,
    });
  });

  it('passes on what the look-up of the name says', async () => {
    const error = Object.assign(new Error('getaddrinfo ENOTFOUND name.test'), { code: 'ENOTFOUND' });
    vi.spyOn(dns, 'lookup').mockRejectedValue(error);
    await expect(TcpStream.connect({ host: 'name.test', port: 1 })).rejects.toBe(error);
  });

  it('leaves no descriptor behind', async () => {
    using deaf = deafPort();
    const { port } = deaf;
    await leavesNothing(async () => {
      const connecting = Array.from({ length: 100 }, () => TcpStream.connect({ host: '127.0.0.1', port }));
      const outcomes = await Promise.allSettled(connecting);
      expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true);
    });
  });
});

describe('a connect that is cancelled', () => {
  it('rejects with an AbortError while the connection is being made', async () => {
    await using full = await fullListener();
    await leavesNothing(async () => {
      const connecting = TcpStream.connect({ host: '127.0.0.1', port: full.port });
      await expect.poll(() => metrics().inFlight, POLL).toBe(1);
      const reason = new Error('too slow');
      connecting.cancel(reason);
      await expect(connecting).rejects.toMatchObject({ name: 'AbortError', cause: reason });
    });
  });

  it('does so in the turn in which it began', async () => {
    await using full = await fullListener();
    await leavesNothing(async () => {
      const connecting = TcpStream.connect({ host: '127.0.0.1', port: full.port });
      connecting.cancel('at once');
      await expect(connecting).rejects.toMatchObject({ name: 'AbortError', cause: 'at once' });
    });
  });

  it('does so for a signal', async () => {
    await using full = await fullListener();
    await leavesNothing(async () => {
      const controller = new AbortController();
      const { signal } = controller;
      const connecting = TcpStream.connect({ host: '127.0.0.1', port: full.port, signal });
      await expect.poll(() => metrics().inFlight, POLL).toBe(1);
      controller.abort('too slow');
      await expect(connecting).rejects.toMatchObject({ name: 'AbortError', cause: 'too slow' });
    });
  });

  it('tries no further address', async () => {
    await using full = await fullListener();
    await using open = await TcpListener.bind({ host: '127.0.0.2', port: full.port });
    lookUp('127.0.0.1', '127.0.0.2');
    const accepted = open.accept();
    const connecting = TcpStream.connect({
      host: 'name.test',
      port: full.port,
      autoSelectFamilyAttemptTimeout: 60_000,
    });
    // The accept, the connect, and the wait until the second address has its turn.
    await expect.poll(() => metrics().inFlight, POLL).toBe(3);
    connecting.cancel();
    await expect(connecting).rejects.toMatchObject({ name: 'AbortError' });
    accepted.cancel();
    await expect(accepted).rejects.toMatchObject({ name: 'AbortError' });
  });

  it('does not wait for the look-up of the name', async () => {
    vi.spyOn(dns, 'lookup').mockReturnValue(new Promise<never>(() => {}));
    const before = sockets();
    const connecting = TcpStream.connect({ host: 'name.test', port: 1 });
    connecting.cancel('enough');
    await expect(connecting).rejects.toMatchObject({ name: 'AbortError', cause: 'enough' });
    expect(sockets()).toBe(before);
  });

  it('opens nothing if that happens in the turn in which it began', async () => {
    await using listener = await listen();
    const before = { sockets: sockets(), sqes: metrics().sqes };
    const connecting = dial(listener);
    connecting.cancel('at once');
    await expect(connecting).rejects.toMatchObject({ name: 'AbortError', cause: 'at once' });
    expect({ sockets: sockets(), sqes: metrics().sqes }).toEqual(before);
  });

  it('opens nothing if the signal was aborted before', async () => {
    const before = { sockets: sockets(), pending: metrics().pending };
    const connecting = TcpStream.connect({ host: '127.0.0.1', port: 1, signal: AbortSignal.abort('before') });
    expect({ sockets: sockets(), pending: metrics().pending }).toEqual(before);
    await expect(connecting).rejects.toMatchObject({ name: 'AbortError', cause: 'before' });
  });
});

describe('bad arguments of connect', () => {
  const bad: [what: string, options: unknown, kind: typeof TypeError | typeof RangeError, code: string][] = [
    ['no options', undefined, TypeError, 'ERR_INVALID_ARG_TYPE'],
    ['options that are null', null, TypeError, 'ERR_INVALID_ARG_TYPE'],
    ['no port', {}, TypeError, 'ERR_INVALID_ARG_TYPE'],
    ['a port above 65535', { port: 70_000 }, RangeError, 'ERR_SOCKET_BAD_PORT'],
    ['a port below 0', { port: -1 }, RangeError, 'ERR_SOCKET_BAD_PORT'],
    ['a port that is a string', { port: '80' }, TypeError, 'ERR_INVALID_ARG_TYPE'],
    ['a host that is a number', { host: 5, port: 80 }, TypeError, 'ERR_INVALID_ARG_TYPE'],
    ['a signal that is none', { port: 80, signal: 'stop' }, TypeError, 'ERR_INVALID_ARG_TYPE'],
  ];

  it.each(bad)('%s is thrown at once, before anything is opened', (_what, options, kind, code) => {
    const before = sockets();
    const connect = (): unknown => TcpStream.connect(options as ConnectOptions);
    expect(connect).toThrow(kind);
    expect(connect).toThrow(expect.objectContaining({ code }));
    expect(sockets()).toBe(before);
  });
});
