import { addon } from '@ouro/native';
import {
  AF_INET,
  IPPROTO_TCP,
  SO_KEEPALIVE,
  SO_LINGER,
  SO_RCVBUF,
  SOCK_STREAM,
  SOL_SOCKET,
  TCP_NODELAY,
} from '@ouro/native/abi';
import { getsockopt, recv, send, setsockopt, siocinq, siocoutq, socket } from '@ouro/net/ops';
import { files, submit } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { Fds } from './op-support.ts';
import { failure } from './support.ts';

const linger = (seconds: number): Buffer => Buffer.from(new Int32Array([1, seconds]).buffer);

describe('setsockopt', () => {
  it('sets what the system call sees', async () => {
    await using fds = new Fds();
    const fd = fds.own(await submit(socket(AF_INET, SOCK_STREAM)));
    await submit(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, 1));
    await submit(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, 1));
    expect(addon().getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE)).toBe(1);
    expect(addon().getsockopt(fd, IPPROTO_TCP, TCP_NODELAY)).toBe(1);
  });

  it('takes the bytes of a struct, which may change afterwards', async () => {
    await using fds = new Fds();
    const fd = fds.own(await submit(socket(AF_INET, SOCK_STREAM)));
    const value = linger(7);
    const set = submit(setsockopt(fd, SOL_SOCKET, SO_LINGER, value));
    value.fill(0xff);
    await set;
    expect(await submit(getsockopt(fd, SOL_SOCKET, SO_LINGER, 8))).toEqual(linger(7));
  });

  it('fails for an option that there is not', async () => {
    await using fds = new Fds();
    const fd = fds.own(await submit(socket(AF_INET, SOCK_STREAM)));
    expect(await failure(submit(setsockopt(fd, SOL_SOCKET, 9999, 1)))).toMatchObject({
      code: 'ENOPROTOOPT',
      syscall: 'setsockopt',
    });
    expect(() => setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, 2 ** 31)).toThrow(RangeError);
    expect(() => setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, 'on' as never)).toThrow(TypeError);
  });

  it('works on direct descriptors', async () => {
    await using direct = await submit(socket(AF_INET, SOCK_STREAM, 0, { into: files().allocate() }));
    await submit(setsockopt(direct, IPPROTO_TCP, TCP_NODELAY, 1));
    await submit(setsockopt(direct, SOL_SOCKET, SO_KEEPALIVE, 1));
    expect(await submit(getsockopt(direct, SOL_SOCKET, SO_KEEPALIVE))).toBe(1);
    // Other levels than SOL_SOCKET are read by a system call, which needs a number.
    expect(await failure(submit(getsockopt(direct, IPPROTO_TCP, TCP_NODELAY)))).toMatchObject({
      code: 'ENOTSUP',
    });
  });
});

describe('getsockopt', () => {
  it('reads ints of any level', async () => {
    await using fds = new Fds();
    const fd = fds.own(await submit(socket(AF_INET, SOCK_STREAM)));
    expect(await submit(getsockopt(fd, SOL_SOCKET, SO_RCVBUF))).toBe(
      addon().getsockopt(fd, SOL_SOCKET, SO_RCVBUF),
    );
    addon().setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    expect(await submit(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY))).toBe(1);
  });

  it('reads no more of a struct than there is', async () => {
    await using fds = new Fds();
    const fd = fds.own(await submit(socket(AF_INET, SOCK_STREAM)));
    expect(await submit(getsockopt(fd, SOL_SOCKET, SO_LINGER, 1000))).toHaveLength(8);
  });

  it('fails for an option that there is not, and for what is no socket', async () => {
    await using fds = new Fds();
    const fd = fds.own(await submit(socket(AF_INET, SOCK_STREAM)));
    expect(await failure(submit(getsockopt(fd, SOL_SOCKET, 9999)))).toMatchObject({
      code: 'ENOPROTOOPT',
      syscall: 'getsockopt',
    });
    expect(await failure(submit(getsockopt(fd, IPPROTO_TCP, 9999)))).toMatchObject({ code: 'ENOPROTOOPT' });
    expect(await failure(submit(getsockopt(999_999, SOL_SOCKET, SO_LINGER, 8)))).toMatchObject({
      code: 'EBADF',
    });
  });

  it('is a system call on kernels without the op, as is setsockopt', async () => {
    const { stdout, stderr } = await runProgram(
      `
        import { batch, run, submit } from '@ouro/runtime';
        import { getsockopt, setsockopt, siocinq, socket } from '@ouro/net/ops';
        await run(async () => {
          const fd = await submit(socket(2, 1));
          await submit(setsockopt(fd, 6, 1, 1));
          console.log(await submit(getsockopt(fd, 6, 1)));
          console.log(await batch([setsockopt(fd, 1, 9, 1), getsockopt(fd, 6, 1)]));
          console.log(await submit(getsockopt(fd, 1, 9)));
          await submit(setsockopt(fd, 1, 9999, 1)).catch((error) => console.log(error.message));
          await submit(setsockopt(fd, 1, 13, Buffer.from([1, 0, 0, 0, 7, 0, 0, 0])));
          console.log((await submit(getsockopt(fd, 1, 13, 8))).toString('hex'));
          await submit(siocinq(fd)).catch((error) => console.log(error.code));
        });
      `,
      { env: { OURO_WITHOUT: 'URING_CMD', OURO_DRIVER: 'uring' } },
    );
    expect(stderr).toBe('');
    expect(stdout).toBe(
      '1\n[ undefined, 1 ]\n1\nsetsockopt ENOPROTOOPT\n0100000007000000\nERR_OURO_UNSUPPORTED\n',
    );
  });
});

describe('siocinq and siocoutq', () => {
  it('count what waits on either side', async () => {
    await using fds = new Fds();
    const [client, server] = await fds.pair();
    await submit(send(client, Buffer.alloc(1234)));
    await submit(recv(server, Buffer.alloc(1), 2 /* MSG_PEEK: only wait */));
    expect(await submit(siocinq(server))).toBe(1234);
    await expect.poll(() => submit(siocoutq(client))).toBe(0);
  });

  it('fail on a listening socket', async () => {
    await using fds = new Fds();
    const { fd } = await fds.listener();
    expect(await failure(submit(siocinq(fd)))).toMatchObject({ code: 'EINVAL', syscall: 'ioctl' });
    expect(await failure(submit(siocoutq(fd)))).toMatchObject({ code: 'EINVAL', syscall: 'ioctl' });
  });
});
