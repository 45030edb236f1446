import { ADDRCONFIG } from 'node:dns';
import net from 'node:net';
import { type LookupFunction, TcpListener, TcpStream } from '@ouro/net';
import { metrics } from '@ouro/runtime';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { failure, leavesNothing, listen, nodeServer, POLL, sockets } from './support.ts';
import { deafPort, fullListener, lookUp, nodeFailure } from './tcp-support.ts';

afterEach(() => vi.restoreAllMocks());

/** A time that is never over in a test. */
const NEVER = 60_000;

describe('a connect to a name with several addresses', () => {
  it('takes the first that answers', async () => {
    await using listener = await listen();
    lookUp('127.0.0.1', '127.0.0.2');
    await using stream = await TcpStream.connect({ host: 'name.test', port: listener.address.port });
    expect(stream.remoteAddress?.address).toBe('127.0.0.1');
    expect(stream.host).toBe('name.test');
  });

  it('tries the next at once when one fails', async () => {
    lookUp('127.0.0.1', '127.0.0.2', '127.0.0.3');
    await leavesNothing(async () => {
      await using listener = await TcpListener.bind({ host: '127.0.0.3' });
      await using stream = await TcpStream.connect({
        host: 'name.test',
        port: listener.address.port,
        autoSelectFamilyAttemptTimeout: NEVER,
      });
      expect(stream.remoteAddress?.address).toBe('127.0.0.3');
      await using server = await listener.accept();
      expect(server.remoteAddress).toEqual(stream.localAddress);
    });
  });

  it('tries the next when one does not answer in time, and closes the one that lost', async () => {
    lookUp('127.0.0.1', '127.0.0.2');
    await leavesNothing(async () => {
      await using full = await fullListener();
      await using listener = await TcpListener.bind({ host: '127.0.0.2', port: full.port });
      await using stream = await TcpStream.connect({
        host: 'name.test',
        port: full.port,
        autoSelectFamilyAttemptTimeout: 10,
      });
      expect(stream.remoteAddress?.address).toBe('127.0.0.2');
      await (await listener.accept()).close();
    });
  });

  it('goes on with the first while the second is tried', async () => {
    // Neither answers at first; then the first has room again, and gets the SYN that is sent once more.
    await using first = await fullListener();
    await using second = await fullListener('127.0.0.2', first.port);
    lookUp('127.0.0.1', '127.0.0.2');
    const before = metrics().pending;
    const connecting = TcpStream.connect({
      host: 'name.test',
      port: first.port,
      autoSelectFamilyAttemptTimeout: 10,
    });
    await expect.poll(() => metrics().ops.CONNECT?.inFlight, POLL).toBe(2);
    await (await first.listener.accept()).close();
    await using stream = await connecting;
    expect(stream.remoteAddress?.address).toBe('127.0.0.1');
    await expect.poll(() => metrics().ops.CONNECT?.inFlight, POLL).toBe(0);
    await (await first.listener.accept()).close();
    await stream.close();
    await expect.poll(() => metrics().pending, POLL).toBeLessThanOrEqual(before + 1);
    expect(second.port).toBe(first.port);
  });

  it('takes turns between the families, beginning with that of the first address', async () => {
    using deaf = deafPort();
    lookUp('127.0.0.1', '127.0.0.2', '::1', '127.0.0.3', '127.0.0.1');
    const error = await TcpStream.connect({ host: 'name.test', port: deaf.port }).catch((e: unknown) => e);
    expect(error).toMatchObject({
      errors: ['127.0.0.1', '::1', '127.0.0.2', '127.0.0.3'].map((address) => ({ address })),
    });
  });

  it('tries only the first without autoSelectFamily', async () => {
    using deaf = deafPort();
    lookUp('127.0.0.1', '127.0.0.2');
    const connecting = TcpStream.connect({ host: 'name.test', port: deaf.port, autoSelectFamily: false });
    expect(await failure(connecting)).toMatchObject({ code: 'ECONNREFUSED', address: '127.0.0.1' });
  });

  it('fails as node:net does, with the error of each', async () => {
    using deaf = deafPort();
    const { port } = deaf;
    lookUp('127.0.0.1', '::1', '127.0.0.2');
    const ours = await TcpStream.connect({ host: 'name.test', port }).catch((e: unknown) => e);
    const lookup: net.LookupFunction = (_host, _options, done) =>
      done(null, [
        { address: '127.0.0.1', family: 4 },
        { address: '::1', family: 6 },
        { address: '127.0.0.2', family: 4 },
      ]);
    const theirs = await new Promise<unknown>((failed) => {
      net.connect({ host: 'name.test', port, lookup, autoSelectFamily: true }).once('error', failed);
    });
    const shape = (error: unknown): unknown => {
      const { code, errors } = error as AggregateError & { code: string };
      return { code, errors: errors.map((each: Error) => ({ ...each, message: each.message })) };
    };
    expect(ours).toBeInstanceOf(AggregateError);
    expect(shape(ours)).toEqual(shape(theirs));
  });

  it('leaves no descriptor, whoever wins and whoever is cancelled', async () => {
    lookUp('127.0.0.1', '127.0.0.3', '127.0.0.2');
    await leavesNothing(async () => {
      await using full = await fullListener();
      await using _ = await TcpListener.bind({ host: '127.0.0.2', port: full.port });
      const connecting = Array.from({ length: 40 }, (_, i) => {
        const each = TcpStream.connect({
          host: 'name.test',
          port: full.port,
          autoSelectFamilyAttemptTimeout: 10,
        });
        if (i % 2 === 0) setTimeout(() => each.cancel(), i);
        return each;
      });
      for (const outcome of await Promise.allSettled(connecting)) {
        if (outcome.status === 'fulfilled') await outcome.value.close();
        else expect(outcome.reason).toMatchObject({ name: 'AbortError' });
      }
    });
  });

  it('cancelled while several are tried, rejects when all their sockets are closed', async () => {
    await using full = await fullListener();
    await using other = await fullListener('127.0.0.2', full.port);
    lookUp('127.0.0.1', '127.0.0.2');
    const before = sockets();
    const connecting = TcpStream.connect({
      host: 'name.test',
      port: other.port,
      autoSelectFamilyAttemptTimeout: 10,
    });
    await expect.poll(() => metrics().ops.CONNECT?.inFlight, POLL).toBe(2);
    connecting.cancel('enough');
    await expect(connecting).rejects.toMatchObject({ name: 'AbortError', cause: 'enough' });
    expect(sockets()).toBe(before);
  });

  it('with a timeout fails with ETIMEDOUT, however many are tried', async () => {
    await using full = await fullListener();
    await leavesNothing(async () => {
      const connecting = TcpStream.connect({ host: '127.0.0.1', port: full.port, timeout: 20 });
      expect(await failure(connecting)).toMatchObject({ code: 'ETIMEDOUT' });
    });
  });
});

describe('the look-up of a connect', () => {
  it('gets family and hints as node:net gives them', async () => {
    using deaf = deafPort();
    const { asked } = lookUp('127.0.0.1');
    const { port } = deaf;
    const host = 'name.test';
    for (const more of [{}, { family: 4 }, { hints: 8 }, { localAddress: '127.0.0.1' }]) {
      await failure(TcpStream.connect({ host, port, ...more }));
    }
    expect(asked).toEqual([
      { all: true, hints: ADDRCONFIG },
      { all: true, hints: 0, family: 4 },
      { all: true, hints: 8 },
      { all: true, hints: 0, family: 4 },
    ]);
  });

  it.each<[string, LookupFunction]>([
    ['all addresses', (_name, _options, done) => done(null, [{ address: '127.0.0.1', family: 4 }])],
    ['one address', (_name, _options, done) => done(null, '127.0.0.1', 4)],
  ])('may be a function of the program, which brings %s', async (_what, lookup) => {
    await using server = await nodeServer(() => {});
    await using stream = await TcpStream.connect({ host: 'name.test', port: server.port, lookup });
    expect(stream.remoteAddress?.address).toBe('127.0.0.1');
  });

  it('that fails, throws or brings no address is what the connect fails with', async () => {
    const connect = (lookup: LookupFunction): Promise<unknown> =>
      TcpStream.connect({ host: 'name.test', port: 1, lookup }).catch((error: unknown) => error);
    const own = new Error('no such name');
    expect(await connect((_name, _options, done) => done(own, ''))).toBe(own);
    expect(
      await connect(() => {
        throw own;
      }),
    ).toBe(own);
    expect(await connect((_name, _options, done) => done(null, 'nowhere', 4))).toMatchObject({
      code: 'ERR_INVALID_IP_ADDRESS',
      message: 'Invalid IP address: nowhere',
    });
  });
});

describe('our own end of a connect', () => {
  it('is what localAddress and localPort say', async () => {
    await using listener = await TcpListener.bind({ host: '127.0.0.1' });
    const { port } = listener.address;
    using free = deafPort('127.0.0.4');
    const localPort = free.port;
    free[Symbol.dispose]();
    await using stream = await TcpStream.connect({
      host: '127.0.0.1',
      port,
      localAddress: '127.0.0.3',
      localPort,
    });
    expect(stream.localAddress).toEqual({ address: '127.0.0.3', port: localPort, family: 'IPv4' });
    await using server = await listener.accept();
    expect(server.remoteAddress).toEqual(stream.localAddress);
  });

  it('has a port of the kernel’s choice with localAddress alone', async () => {
    await using listener = await TcpListener.bind({ host: '127.0.0.1' });
    const { port } = listener.address;
    await using stream = await TcpStream.connect({ host: '127.0.0.1', port, localAddress: '127.0.0.3' });
    expect(stream.localAddress?.address).toBe('127.0.0.3');
    expect(stream.localAddress?.port).toBeGreaterThan(0);
  });

  it.each([
    ['EADDRINUSE', (taken: number) => ({ localAddress: '127.0.0.1', localPort: taken })],
    ['EADDRNOTAVAIL', () => ({ localAddress: '192.0.2.1' })],
  ])('that cannot be had fails with %s, as node:net says it', async (code, local) => {
    using taken = deafPort();
    const options = { host: '127.0.0.1', port: 1, ...local(taken.port) };
    await leavesNothing(async () => {
      const ours = await failure(TcpStream.connect(options));
      expect(ours).toMatchObject({ code, syscall: 'bind' });
      expect(ours).toEqual(await nodeFailure(options));
    });
  });

  it('is named by the error of a connect that fails, as node:net does', async () => {
    using deaf = deafPort();
    using free = deafPort();
    const localPort = free.port;
    free[Symbol.dispose]();
    const options = { host: '127.0.0.1', port: deaf.port, localAddress: '127.0.0.1', localPort };
    expect(await failure(TcpStream.connect(options))).toEqual(await nodeFailure(options));
  });
});

describe('bad arguments of a race', () => {
  it.each<[string, object, string]>([
    ['a family that is none', { family: 5 }, 'ERR_INVALID_ARG_VALUE'],
    ['hints below 0', { hints: -1 }, 'ERR_OUT_OF_RANGE'],
    ['a lookup that is no function', { lookup: 'dns' }, 'ERR_INVALID_ARG_TYPE'],
    ['autoSelectFamily that is no boolean', { autoSelectFamily: 1 }, 'ERR_INVALID_ARG_TYPE'],
    ['an attempt timeout of 0', { autoSelectFamilyAttemptTimeout: 0 }, 'ERR_OUT_OF_RANGE'],
    ['a localAddress that is a name', { localAddress: 'localhost' }, 'ERR_INVALID_IP_ADDRESS'],
    ['a localPort above 65535', { localPort: 65_536 }, 'ERR_SOCKET_BAD_PORT'],
    ['keepAlive that is a number', { keepAlive: 5 }, 'ERR_INVALID_ARG_TYPE'],
    ['keepAlive with an idle of 0', { keepAlive: { idle: 0 } }, 'ERR_OUT_OF_RANGE'],
    ['a highWater of 0', { highWater: 0 }, 'ERR_OUT_OF_RANGE'],
  ])('%s is thrown at once', (_what, options, code) => {
    const before = sockets();
    expect(() => TcpStream.connect({ host: '127.0.0.1', port: 1, ...options })).toThrow(
      expect.objectContaining({ code }),
    );
    expect(sockets()).toBe(before);
  });
});
