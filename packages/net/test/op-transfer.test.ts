import {
  IORING_RECVSEND_FIXED_BUF,
  MSG_CTRUNC,
  MSG_DONTWAIT,
  MSG_PEEK,
  MSG_TRUNC,
  MSG_WAITALL,
} from '@ouro/native/abi';
import { type InetAddress, recv, recvmsg, send, sendmsg, sendmsgZc, sendZc, setsockopt } from '@ouro/net/ops';
import { BufferPool, batch, chain, type Op, submit } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import { Fds } from './op-support.ts';
import { bytes, failure, leavesNothing, pair } from './support.ts';

const resizable = (length: number): ArrayBuffer => {
  const ResizableBuffer = ArrayBuffer as new (
    bytes: number,
    options: { maxByteLength: number },
  ) => ArrayBuffer;
  return new ResizableBuffer(length, { maxByteLength: 2 * length });
};
const resize = (buffer: ArrayBuffer, length: number): void =>
  (buffer as { resize(bytes: number): void } & ArrayBuffer).resize(length);

/** Everything that arrives, `length` bytes of it. */
async function drain(fd: number, length: number): Promise<Buffer> {
  const all = Buffer.alloc(length);
  for (let filled = 0; filled < length; ) filled += await submit(recv(fd, all.subarray(filled)));
  return all;
}

describe('send and recv', () => {
  it('move bytes', async () => {
    await using fds = new Fds();
    const [client, server] = await fds.pair();
    expect(await submit(send(client, Buffer.from('hello')))).toBe(5);
    const buffer = Buffer.alloc(10);
    expect(await submit(recv(server, buffer))).toBe(5);
    expect(buffer.toString('utf8', 0, 5)).toBe('hello');
    await fds.close(client);
    expect(await submit(recv(server, buffer))).toBe(0);
  });

  it('MSG_PEEK leaves the bytes, MSG_WAITALL waits for all of them', async () => {
    await using fds = new Fds();
    const [client, server] = await fds.pair();
    const buffer = Buffer.alloc(10);
    const whole = submit(recv(server, buffer, MSG_WAITALL));
    await submit(send(client, Buffer.from('hello')));
    await submit(send(client, Buffer.from('world')));
    expect(await whole).toBe(10);
    await submit(send(client, Buffer.from('again')));
    expect(await submit(recv(server, buffer, MSG_PEEK))).toBe(5);
    expect(await submit(recv(server, buffer))).toBe(5);
  });

  it('MSG_TRUNC tells the length of a datagram that does not fit', async () => {
    await using fds = new Fds();
    const { fd, port } = await fds.udp();
    const to = { address: '127.0.0.1', port };
    for (const small of [Buffer.alloc(4), new Uint8Array(resizable(4))]) {
      await submit(sendmsg(fd, [Buffer.from('datagram')], { to }));
      expect(await submit(recv(fd, small, MSG_TRUNC))).toBe(8);
      expect(Buffer.from(small).toString()).toBe('data');
    }
  });

  it('MSG_DONTWAIT fails instead of waiting', async () => {
    await using fds = new Fds();
    const [, server] = await fds.pair();
    expect(await failure(submit(recv(server, Buffer.alloc(1), MSG_DONTWAIT)))).toMatchObject({
      code: 'EAGAIN',
      syscall: 'recv',
    });
  });

  it('pollFirst waits for the socket to be ready', async () => {
    await using fds = new Fds();
    const [client, server] = await fds.pair();
    const received = submit(recv(server, Buffer.alloc(5), 0, { pollFirst: true }));
    await submit(send(client, Buffer.from('hello'), 0, { pollFirst: true }));
    expect(await received).toBe(5);
  });

  it('fail with EBADF, ENOTCONN, EPIPE', async () => {
    await using fds = new Fds();
    expect(await failure(submit(recv(999_999, Buffer.alloc(1))))).toMatchObject({ code: 'EBADF' });
    expect(await failure(submit(send(999_999, Buffer.alloc(1))))).toMatchObject({ code: 'EBADF' });
    const { fd } = await fds.listener();
    expect(await failure(submit(recv(fd, Buffer.alloc(1))))).toMatchObject({
      code: 'ENOTCONN',
      syscall: 'recv',
    });
    expect(await failure(submit(send(fd, Buffer.alloc(1))))).toMatchObject({
      code: 'EPIPE',
      syscall: 'send',
    });
  });

  it('take buffers of 4 GiB, whose length the queue has no room for', async () => {
    await using fds = new Fds();
    const [client, server] = await fds.pair();
    const huge = new Uint8Array(2 ** 32);
    await submit(send(client, Buffer.from('data')));
    expect(await submit(recv(server, huge))).toBe(4);
    expect(await submit(send(client, huge))).toBeGreaterThan(0);
    expect(sendZc(client, huge).len).toBe(0x7fff_f000);
  });

  it('refuse what is no buffer', () => {
    expect(() => recv(0, 'x' as never)).toThrow(/"buffer" argument must be an instance of Buffer/);
    expect(() => send(0, 'x' as never)).toThrow(TypeError);
    expect(() => recv(0, Buffer.alloc(1), -1)).toThrow(RangeError);
    expect(() => recv('0' as never, Buffer.alloc(1))).toThrow(TypeError);
  });

  it('can be cancelled and timed out', () =>
    leavesNothing(async () => {
      await using fds = new Fds();
      const [, server] = await fds.pair();
      const waiting = submit(recv(server, Buffer.alloc(1)));
      waiting.cancel();
      expect(await failure(waiting)).toMatchObject({ code: 'ABORT_ERR' });
      expect(await failure(submit(recv(server, Buffer.alloc(1)), { timeout: 1 }))).toMatchObject({
        code: 'ETIMEDOUT',
        message: 'recv ETIMEDOUT: the operation timed out after 1 ms',
      });
    }));

  it('a buffer that is shrunk meanwhile gets what still fits', async () => {
    await using fds = new Fds();
    const [client, server] = await fds.pair();
    const memory = resizable(5);
    const received = submit(recv(server, new Uint8Array(memory)));
    resize(memory, 2);
    await submit(send(client, Buffer.from('hello')));
    expect(await received).toBe(5);
    expect(Buffer.from(memory).toString()).toBe('he');
  });

  it('a buffer that is transferred meanwhile is not written to by the kernel afterwards', async () => {
    await using fds = new Fds();
    const [client, server] = await fds.pair();
    const memory = new ArrayBuffer(8);
    const received = submit(recv(server, new Uint8Array(memory)));
    try {
      structuredClone(memory, { transfer: [memory] });
    } catch {
      // Node 22 and later refuse it.
    }
    await submit(send(client, Buffer.from('hello')));
    expect(await received).toBe(5);
  });
});

describe('sendmsg and recvmsg', () => {
  it('gather and scatter', async () => {
    await using fds = new Fds();
    const [client, server] = await fds.pair();
    expect(await submit(sendmsg(client, [Buffer.from('ab'), Buffer.alloc(0), Buffer.from('cdef')]))).toBe(6);
    const parts = [Buffer.alloc(1), Buffer.alloc(3), new Uint8Array(resizable(4))];
    expect(await submit(recvmsg(server, parts))).toEqual({ bytes: 6, flags: 0 });
    expect(parts.map((part) => Buffer.from(part).toString())).toEqual(['a', 'bcd', 'ef\0\0']);
  });

  it('take as many buffers as the kernel does', async () => {
    await using fds = new Fds();
    const [client, server] = await fds.pair();
    const data = bytes(1024 * 7, 3);
    const parts = Array.from({ length: 1024 }, (_, i) => data.subarray(i * 7, i * 7 + 7));
    expect(await submit(sendmsg(client, parts, { flags: MSG_WAITALL }))).toBe(data.length);
    const received = Array.from({ length: 1024 }, () => Buffer.alloc(7));
    expect((await submit(recvmsg(server, received, { flags: MSG_WAITALL }))).bytes).toBe(data.length);
    expect(Buffer.concat(received).equals(data)).toBe(true);
    expect(() => sendmsg(client, [...parts, Buffer.alloc(1)])).toThrow(/"buffers.length" is out of range/);
    expect(() => recvmsg(client, Buffer.alloc(1) as never)).toThrow(
      /"buffers" argument must be an instance of Array/,
    );
    expect(() => recvmsg(client, ['x' as never])).toThrow(/"buffers\[0\]"/);
  });

  it('do not believe what an array of a class of its own says', async () => {
    await using fds = new Fds();
    const [client, server] = await fds.pair();
    class Liar extends Array<Buffer> {
      override map(): never[] {
        return [{ address: 4096, length: 8, hold: null }] as never[];
      }
    }
    expect(await submit(sendmsg(client, Liar.of(Buffer.from('data'))))).toBe(4);
    expect((await drain(server, 4)).toString()).toBe('data');
  });

  it('say that a datagram was cut', async () => {
    await using fds = new Fds();
    const { fd, port } = await fds.udp();
    await submit(sendmsg(fd, [Buffer.from('datagram')], { to: { address: '127.0.0.1', port } }));
    expect(await submit(recvmsg(fd, [Buffer.alloc(4)], { address: true }))).toEqual({
      bytes: 4,
      flags: MSG_TRUNC,
      address: { address: '127.0.0.1', port, family: 'IPv4' },
    });
  });

  it('carry control messages both ways', async () => {
    await using fds = new Fds();
    const { fd, port } = await fds.udp();
    // IP_TTL, as sent, and IP_RECVTTL, which asks for the same message on arrival
    const [IPPROTO_IP, IP_TTL, IP_RECVTTL] = [0, 2, 12];
    await submit(setsockopt(fd, IPPROTO_IP, IP_RECVTTL, 1));
    const control = Buffer.alloc(24); // struct cmsghdr: length, level, type; an int
    control.writeUInt32LE(20, 0);
    control.writeUInt32LE(IPPROTO_IP, 8);
    control.writeUInt32LE(IP_TTL, 12);
    control.writeUInt32LE(42, 16);
    const sent = submit(sendmsg(fd, [Buffer.from('x')], { to: { address: '127.0.0.1', port }, control }));
    control.fill(0xff); // it was copied
    await sent;
    const { control: received } = await submit(recvmsg(fd, [Buffer.alloc(1)], { control: 64 }));
    expect(received?.readUInt32LE(12)).toBe(IP_TTL);
    expect(received?.readUInt32LE(16)).toBe(42);
    await submit(sendmsg(fd, [Buffer.from('x')], { to: { address: '127.0.0.1', port } }));
    expect(await submit(recvmsg(fd, [Buffer.alloc(1)], { control: 8 }))).toMatchObject({ flags: MSG_CTRUNC });
  });

  it('tell who sent what of an op that is in flight twice', async () => {
    await using fds = new Fds();
    const to = await fds.udp();
    const senders = [await fds.udp(), await fds.udp()];
    for (const count of [1, 100]) {
      const buffers = Array.from({ length: count }, () => Buffer.alloc(1));
      const op = recvmsg(to.fd, buffers, { address: true });
      const received = Promise.all([submit(op), submit(op)]);
      for (const { fd } of senders) {
        await submit(sendmsg(fd, [Buffer.from('x')], { to: { address: '127.0.0.1', port: to.port } }));
        await submit(sendmsg(fd, [], { to: { address: '127.0.0.1', port: senders[0].port } }));
      }
      const ports = (await received).map(({ address }) => (address as InetAddress).port);
      expect(ports.sort()).toEqual(senders.map(({ port }) => port).sort());
    }
  });

  it('fail with the address that they were for', async () => {
    await using fds = new Fds();
    const { fd } = await fds.udp();
    expect(await failure(submit(sendmsg(fd, [Buffer.from('x')])))).toMatchObject({
      message: 'sendmsg EDESTADDRREQ',
      code: 'EDESTADDRREQ',
    });
    const to = { address: '255.255.255.255', port: 9 };
    expect(await failure(submit(sendmsg(fd, [Buffer.from('x')], { to })))).toMatchObject({
      code: 'EACCES',
      syscall: 'sendmsg',
      ...to,
    });
    expect(await failure(submit(recvmsg(999_999, [Buffer.alloc(1)])))).toMatchObject({
      code: 'EBADF',
      syscall: 'recvmsg',
    });
  });

  it('can be cancelled', () =>
    leavesNothing(async () => {
      await using fds = new Fds();
      const { fd } = await fds.udp();
      const waiting = submit(recvmsg(fd, [Buffer.alloc(1)], { address: true }));
      waiting.cancel();
      expect(await failure(waiting)).toMatchObject({ code: 'ABORT_ERR' });
    }));
});

describe('sendZc and sendmsgZc', () => {
  it('send, and settle when the buffer is free', () =>
    leavesNothing(async () => {
      await using fds = new Fds();
      const [client, server] = await fds.pair();
      const data = bytes(1 << 20, 5);
      const sent = submit(sendZc(client, data, MSG_WAITALL));
      expect((await drain(server, data.length)).equals(data)).toBe(true);
      expect(await sent).toBe(data.length);
      const halves = [data.subarray(0, 1000), data.subarray(1000, 3000)];
      const message = submit(sendmsgZc(client, halves, { flags: MSG_WAITALL }));
      expect((await drain(server, 3000)).equals(data.subarray(0, 3000))).toBe(true);
      expect(await message).toBe(3000);
    }));

  it('say whether the kernel copied all the same, as it does on loopback', async () => {
    await using fds = new Fds();
    const [client, server] = await fds.pair();
    const sent = submit(sendZc(client, Buffer.alloc(5000), 0, { report: true }));
    await drain(server, 5000);
    expect(await sent).toEqual({ bytes: 5000, copied: true });
    const message = submit(sendmsgZc(client, [Buffer.alloc(5000)], { report: true }));
    await drain(server, 5000);
    expect(await message).toEqual({ bytes: 5000, copied: true });
  });

  it('send datagrams to an address', async () => {
    await using fds = new Fds();
    const { fd, port } = await fds.udp();
    const sent = submit(sendmsgZc(fd, [Buffer.from('x')], { to: { address: '127.0.0.1', port } }));
    expect((await submit(recvmsg(fd, [Buffer.alloc(1)], { address: true }))).address).toMatchObject({ port });
    expect(await sent).toBe(1);
  });

  it('fail once, whether the kernel completes the op once or twice', () =>
    leavesNothing(async () => {
      await using fds = new Fds();
      const [client, server] = await fds.pair();
      expect(await failure(submit(sendZc(999_999, Buffer.alloc(1))))).toMatchObject({ code: 'EBADF' });
      const { fd } = await fds.listener();
      expect(await failure(submit(sendZc(fd, Buffer.alloc(1))))).toMatchObject({
        code: 'EPIPE',
        syscall: 'send',
      });
      expect(await failure(submit(sendmsgZc(fd, [Buffer.alloc(1)], { report: true })))).toMatchObject({
        code: 'EPIPE',
        syscall: 'sendmsg',
      });
      const cancelled = submit(sendZc(client, bytes(16 << 20, 1), MSG_WAITALL));
      cancelled.cancel();
      // Bytes that wait for a peer that does not read are still those of the buffer.
      await fds.close(server);
      // What had been sent by then counts.
      await cancelled.catch((error: unknown) => expect(error).toMatchObject({ code: 'ABORT_ERR' }));
    }));

  it('send registered buffers without looking their pages up', async () => {
    await using fds = new Fds();
    const [client, server] = await fds.pair();
    const pool = new BufferPool({ count: 2, size: 8192, register: true });
    const lease = pool.lease();
    lease.buffer.write('registered');
    const op = sendZc(client, lease.buffer.subarray(0, 10));
    expect(op.ioprio & IORING_RECVSEND_FIXED_BUF).not.toBe(0);
    const sent = submit(op);
    expect((await drain(server, 10)).toString()).toBe('registered');
    expect(await sent).toBe(10);
    lease.release();
    pool.close();
  });

  it('tell of copies in a batch too', async () => {
    await using fds = new Fds();
    const [client, server] = await fds.pair();
    const sent = batch([sendZc(client, Buffer.alloc(10), 0, { report: true })]);
    await drain(server, 10);
    expect(await sent).toEqual([{ bytes: 10, copied: true }]);
  });

  it('a stream can be closed while its peer does not read, and the buffer is free when the connection is gone', () =>
    leavesNothing(async () => {
      const { client, server } = await pair();
      const sending = submit(sendZc(client, bytes(16 << 20, 1), MSG_WAITALL));
      await submit(recv(server, Buffer.alloc(1), MSG_PEEK)); // it has begun
      await client.close();
      await server.close();
      expect(await sending).toBeGreaterThan(0);
    }));

  it('in a batch or a chain let a stream be closed as well', () =>
    leavesNothing(async () => {
      for (const together of [(op: Op<number>) => batch([op]), (op: Op<number>) => chain([op])]) {
        const { client, server } = await pair();
        const sending = together(sendZc(client, bytes(16 << 20, 1)));
        await submit(recv(server, Buffer.alloc(1), MSG_PEEK)); // it has begun
        await client.close();
        await server.close();
        await sending;
      }
    }));

  it('send a copy of memory that can be taken away', async () => {
    await using fds = new Fds();
    const [client, server] = await fds.pair();
    const memory = resizable(4);
    Buffer.from(memory).write('data');
    const sent = submit(sendZc(client, new Uint8Array(memory)));
    resize(memory, 0);
    expect((await drain(server, 4)).toString()).toBe('data');
    expect(await sent).toBe(4);
  });
});
