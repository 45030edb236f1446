import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addon } from '@ouro/native';
import { AF_INET, AF_INET6, AF_UNIX, SOCK_DGRAM, SOCK_STREAM } from '@ouro/native/abi';
import {
  accept,
  acceptMultishot,
  bind,
  connect,
  listen,
  recv,
  recvmsg,
  send,
  sendmsg,
  shutdown,
  socket,
} from '@ouro/net/ops';
import { files, stream, submit } from '@ouro/runtime';
import { afterAll, describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { Fds, portOf } from './op-support.ts';
import { failure, leavesNothing } from './support.ts';

const directory = mkdtempSync(join(tmpdir(), 'ouro-op-socket-'));
afterAll(() => rmSync(directory, { recursive: true }));
const NOBODY = 1; // a port that nobody listens on

describe('socket', () => {
  it('makes a socket that is close-on-exec', async () => {
    await using fds = new Fds();
    const fd = fds.own(await submit(socket(AF_INET, SOCK_STREAM)));
    expect(addon().getsockname(fd)).toEqual({ address: '0.0.0.0', port: 0, family: 'IPv4' });
  });

  it('fails for a family that there is not', async () => {
    expect(await failure(submit(socket(12_345, SOCK_STREAM)))).toMatchObject({
      code: 'EAFNOSUPPORT',
      syscall: 'socket',
      message: 'socket EAFNOSUPPORT',
    });
  });

  it('refuses arguments of another type before anything is queued', () => {
    expect(() => socket('inet' as never, SOCK_STREAM)).toThrow(/"domain" argument must be of type number/);
    expect(() => socket(AF_INET, -1)).toThrow(RangeError);
  });

  it('cancelled, leaves no descriptor open', () =>
    leavesNothing(async () => {
      const made = submit(socket(AF_INET, SOCK_STREAM));
      made.cancel();
      expect(await failure(made)).toMatchObject({ code: 'ABORT_ERR' });
    }));
});

describe('bind and listen', () => {
  it('listen on an address that others can connect to', async () => {
    await using fds = new Fds();
    const { fd, port } = await fds.listener();
    const peer = net.connect(port, '127.0.0.1');
    const accepted = fds.own(await submit(accept(fd)));
    peer.end('hello');
    const buffer = Buffer.alloc(10);
    expect(await submit(recv(accepted, buffer))).toBe(5);
  });

  it('bind says which address is taken', async () => {
    await using fds = new Fds();
    const { port } = await fds.listener();
    const second = fds.own(await submit(socket(AF_INET, SOCK_STREAM)));
    expect(await failure(submit(bind(second, { address: '127.0.0.1', port })))).toEqual({
      message: `bind EADDRINUSE 127.0.0.1:${port}`,
      code: 'EADDRINUSE',
      errno: -98,
      syscall: 'bind',
      address: '127.0.0.1',
      port,
    });
  });

  it('listen fails where it makes no sense', async () => {
    await using fds = new Fds();
    const { fd } = await fds.udp();
    expect(await failure(submit(listen(fd, 1)))).toMatchObject({ code: 'ENOTSUP', syscall: 'listen' });
    expect(() => listen(fd, -1)).toThrow(RangeError);
  });

  it('refuse what is no address', () => {
    expect(() => bind(0, { address: 'localhost', port: 0 })).toThrow(/Invalid IP address: localhost/);
    expect(() => bind(0, { address: '127.0.0.1', port: 65_536 })).toThrow(/"address.port" is out of range/);
    expect(() => bind(0, { path: '' })).toThrow(RangeError);
    expect(() => bind(0, { path: 'x'.repeat(108) })).toThrow(RangeError);
    expect(() => bind(0, { path: 'a\0b' })).toThrow(/null bytes/);
    expect(() => bind(0, null as never)).toThrow(/"address" argument must be of type object/);
  });

  it('are done by system calls on kernels without the ops', async () => {
    const { stdout, stderr } = await runProgram(
      `
        import net from 'node:net';
        import { addon } from '@ouro/native';
        import { run, submit } from '@ouro/runtime';
        import { accept, bind, listen, socket } from '@ouro/net/ops';
        import { files } from '@ouro/runtime';
        await run(async () => {
          const fd = await submit(socket(2, 1));
          await submit(bind(fd, { address: '127.0.0.1', port: 0 }));
          await submit(listen(fd, 1));
          const { port } = addon().getsockname(fd);
          net.connect(port, '127.0.0.1').end();
          console.log(await submit(accept(fd)) > fd);
          await submit(bind(fd, { address: '127.0.0.1', port: 0 })).catch((error) => console.log(error.message));
          await submit(socket(2, 1, 0, { into: 'any' })).catch((error) => console.log(error.code));
          await submit(listen(files().allocate(), 1)).catch((error) => console.log(error.code));
        });
        process.exit();
      `,
      { env: { OURO_WITHOUT: 'SOCKET,BIND,LISTEN', OURO_DRIVER: 'uring' } },
    );
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^true\nbind EINVAL 127.0.0.1\nERR_OURO_UNSUPPORTED\nERR_OURO_UNSUPPORTED\n$/);
  });
});

describe('connect', () => {
  it('reaches IPv4, IPv6, paths and abstract names', async () => {
    const path = join(directory, 'stream');
    for (const [family, address] of [
      [AF_INET, { address: '127.0.0.1', port: 0 }],
      [AF_INET6, { address: '::1', port: 0 }],
      [AF_UNIX, { path }],
      [AF_UNIX, { path: `\0ouro-op-socket-${process.pid}` }],
    ] as const) {
      await using fds = new Fds();
      const server = fds.own(await submit(socket(family, SOCK_STREAM)));
      await submit(bind(server, address));
      await submit(listen(server, 1));
      const to = 'path' in address ? address : { address: address.address, port: portOf(server) };
      const client = fds.own(await submit(socket(family, SOCK_STREAM)));
      await submit(connect(client, to));
      const accepted = fds.own(await submit(accept(server)));
      await submit(send(client, Buffer.from('hello')));
      const buffer = Buffer.alloc(5);
      await submit(recv(accepted, buffer));
      expect(buffer.toString()).toBe('hello');
    }
    expect(existsSync(path)).toBe(true);
  });

  it('to a path waits where as many wait for an accept as may', async () => {
    await using fds = new Fds();
    const path = `\0ouro-op-socket-full-${process.pid}`;
    const listener = fds.own(await submit(socket(AF_UNIX, SOCK_STREAM)));
    await submit(bind(listener, { path }));
    await submit(listen(listener, 0));
    const clients: number[] = [];
    for (let i = 0; i < 3; i++) clients.push(fds.own(await submit(socket(AF_UNIX, SOCK_STREAM))));
    const [first, second, third] = clients.map((fd, i) =>
      submit(connect(fd, { path }), i === 2 ? { timeout: 20 } : {}),
    );
    await first;
    expect(await failure(Promise.resolve(third))).toMatchObject({ code: 'ETIMEDOUT' });
    fds.own(await submit(accept(listener)));
    await second;
    fds.own(await submit(accept(listener)));
  });

  it('takes the interface of a link-local address by number', async () => {
    await using fds = new Fds();
    const fd = fds.own(await submit(socket(AF_INET6, SOCK_DGRAM)));
    // The loopback interface has no link-local addresses: what matters is that the number gets through.
    const error = await failure(submit(connect(fd, { address: 'fe80::1', port: 9 })));
    expect(error).toMatchObject({ code: 'EINVAL' });
    const scoped = await submit(connect(fd, { address: 'fe80::1%1', port: 9 })).then(
      () => 'connected',
      ({ code }) => code,
    );
    expect(scoped).not.toBe('EINVAL');
  });

  it('says who refuses', async () => {
    await using fds = new Fds();
    const fd = fds.own(await submit(socket(AF_INET, SOCK_STREAM)));
    expect(await failure(submit(connect(fd, { address: '127.0.0.1', port: NOBODY })))).toMatchObject({
      message: `connect ECONNREFUSED 127.0.0.1:${NOBODY}`,
      code: 'ECONNREFUSED',
      syscall: 'connect',
      address: '127.0.0.1',
      port: NOBODY,
    });
    const unix = fds.own(await submit(socket(AF_UNIX, SOCK_STREAM)));
    const path = join(directory, 'nobody');
    expect(await failure(submit(connect(unix, { path })))).toMatchObject({
      message: `connect ENOENT ${path}`,
      code: 'ENOENT',
      address: path,
    });
  });
});

describe('accept', () => {
  it('waits for a connection, and can be cancelled and timed out', () =>
    leavesNothing(async () => {
      await using fds = new Fds();
      const { fd } = await fds.listener();
      const cancelled = submit(accept(fd));
      cancelled.cancel();
      expect(await failure(cancelled)).toMatchObject({ code: 'ABORT_ERR' });
      expect(await failure(submit(accept(fd), { timeout: 1 }))).toMatchObject({
        code: 'ETIMEDOUT',
        syscall: 'accept',
      });
    }));

  it('fails on a socket that does not listen', async () => {
    await using fds = new Fds();
    const { fd } = await fds.udp();
    expect(await failure(submit(accept(fd)))).toMatchObject({ code: 'ENOTSUP', syscall: 'accept' });
    expect(await failure(submit(accept(999_999)))).toMatchObject({ code: 'EBADF' });
  });

  it('multishot, brings one connection after the other', () =>
    leavesNothing(async () => {
      await using fds = new Fds();
      const { fd, port } = await fds.listener();
      const connections = stream(acceptMultishot(fd));
      const clients = await Promise.all(
        [1, 2, 3].map(async () => {
          const client = fds.own(await submit(socket(AF_INET, SOCK_STREAM)));
          await submit(connect(client, { address: '127.0.0.1', port }));
          return client;
        }),
      );
      const accepted = new Set<number>();
      for await (const connection of connections) {
        accepted.add(fds.own(connection));
        if (accepted.size === clients.length) break;
      }
      expect(accepted.size).toBe(3);
    }));

  it('multishot, closes connections that nobody takes', () =>
    leavesNothing(async () => {
      await using fds = new Fds();
      const { fd, port } = await fds.listener();
      const connections = stream(acceptMultishot(fd));
      const first = connections.next();
      for (let i = 0; i < 3; i++) {
        const client = fds.own(await submit(socket(AF_INET, SOCK_STREAM)));
        await submit(connect(client, { address: '127.0.0.1', port }));
      }
      fds.own((await first).value ?? -1);
      await connections.return();
    }));

  it('multishot, ends with an error where nothing can be accepted', async () => {
    await using fds = new Fds();
    const { fd } = await fds.udp();
    expect(await failure(stream(acceptMultishot(fd)).next())).toMatchObject({ code: 'ENOTSUP' });
  });
});

describe('direct descriptors', () => {
  it('take the place of numbers all the way', () =>
    leavesNothing(async () => {
      await using fds = new Fds();
      await using server = await submit(socket(AF_INET, SOCK_STREAM, 0, { into: files().allocate() }));
      await submit(bind(server, { address: '127.0.0.1', port: 0 }));
      await submit(listen(server, 1));
      const visible = fds.own(await files().install(server));
      await using client = await submit(socket(AF_INET, SOCK_STREAM, 0, { into: 'any' }));
      await submit(connect(client, { address: '127.0.0.1', port: portOf(visible) }));
      await using accepted = await submit(accept(server, { into: 'any' }));
      await submit(send(client, Buffer.from('direct')));
      const buffer = Buffer.alloc(6);
      await submit(recv(accepted, buffer));
      expect(buffer.toString()).toBe('direct');
    }));

  it('are what a multishot accept brings', () =>
    leavesNothing(async () => {
      await using fds = new Fds();
      const { fd, port } = await fds.listener();
      const client = fds.own(await submit(socket(AF_INET, SOCK_STREAM)));
      await submit(connect(client, { address: '127.0.0.1', port }));
      for await (const connection of stream(acceptMultishot(fd, { into: 'any' }))) {
        await using accepted = connection;
        await submit(send(client, Buffer.from('x')));
        expect(await submit(recv(accepted, Buffer.alloc(1)))).toBe(1);
        break;
      }
    }));
});

describe('shutdown', () => {
  it('ends one direction', async () => {
    await using fds = new Fds();
    const [client, server] = await fds.pair();
    await submit(shutdown(client, 1));
    expect(await submit(recv(server, Buffer.alloc(1)))).toBe(0);
    expect(await failure(submit(send(client, Buffer.from('x'))))).toMatchObject({
      code: 'EPIPE',
      syscall: 'send',
    });
  });

  it('fails on a socket that is not connected', async () => {
    await using fds = new Fds();
    const fd = fds.own(await submit(socket(AF_INET, SOCK_STREAM)));
    expect(await failure(submit(shutdown(fd, 1)))).toMatchObject({ code: 'ENOTCONN', syscall: 'shutdown' });
  });
});

describe('datagrams', () => {
  it('tell who sent them, over IPv4, IPv6, paths and abstract names', async () => {
    const abstract = `\0ouro-datagram-${process.pid}`;
    for (const [family, address, shown] of [
      [AF_INET, { address: '127.0.0.1', port: 0 }, 'IPv4'],
      [AF_INET6, { address: '::1', port: 0 }, 'IPv6'],
      [AF_UNIX, { path: join(directory, 'datagram') }, undefined],
      [AF_UNIX, { path: abstract }, undefined],
    ] as const) {
      await using fds = new Fds();
      const fd = fds.own(await submit(socket(family, SOCK_DGRAM)));
      await submit(bind(fd, address));
      const self = 'path' in address ? address : { address: address.address, port: portOf(fd) };
      expect(await submit(sendmsg(fd, [Buffer.from('da'), Buffer.from('ta')], { to: self }))).toBe(4);
      const buffer = Buffer.alloc(4);
      expect(await submit(recvmsg(fd, [buffer], { address: true }))).toEqual({
        bytes: 4,
        flags: 0,
        address: 'path' in self ? self : { ...self, family: shown },
      });
      expect(buffer.toString()).toBe('data');
    }
  });
});
