import { addon } from '@ouro/native';
import { MSG_TRUNC, SOL_SOCKET } from '@ouro/native/abi';
import { BufferRing, recvmsgMultishot, sendmsg } from '@ouro/net/ops';
import { batch, stream, submit } from '@ouro/runtime';
import { nop } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';
import { Fds } from './op-support.ts';
import { bytes, failure, leavesNothing } from './support.ts';

const SO_TIMESTAMP = 29;
/** `struct io_uring_recvmsg_out` */
const OUT_BYTES = 16;
const ADDRESS_BYTES = 112;

const ring = (size: number, entries = 4): BufferRing => new BufferRing({ entries, size, incremental: false });

const sending = (fd: number, port: number, data: Uint8Array) =>
  sendmsg(fd, [data], { to: { address: '127.0.0.1', port } });

describe('recvmsgMultishot', () => {
  it('brings each message with who sent it', () =>
    leavesNothing(async () => {
      await using fds = new Fds();
      const [a, b] = [await fds.udp(), await fds.udp()];
      using buffers = ring(256);
      const messages = stream(recvmsgMultishot(b.fd, buffers, { address: true }));
      await batch(['one', 'two', 'three'].map((text) => sending(a.fd, b.port, Buffer.from(text))));
      for (const text of ['one', 'two', 'three']) {
        expect((await messages.next()).value).toEqual({
          data: Buffer.from(text),
          size: text.length,
          flags: 0,
          address: { address: '127.0.0.1', port: a.port, family: 'IPv4' },
        });
      }
      await messages.return();
    }));

  it('says nothing of the sender unless asked, and leaves the room to the message', async () => {
    await using fds = new Fds();
    const [a, b] = [await fds.udp(), await fds.udp()];
    using buffers = ring(OUT_BYTES + 10);
    const messages = stream(recvmsgMultishot(b.fd, buffers));
    const data = bytes(10, 1);
    await submit(sending(a.fd, b.port, data));
    expect((await messages.next()).value).toEqual({ data, size: 10, flags: 0 });
    await messages.return();
  });

  it('cuts what does not fit, and with MSG_TRUNC says how long it was', async () => {
    await using fds = new Fds();
    const [a, b] = [await fds.udp(), await fds.udp()];
    using buffers = ring(OUT_BYTES + ADDRESS_BYTES + 100);
    const data = bytes(1000, 2);
    for (const [flags, size] of [
      [0, 100],
      [MSG_TRUNC, 1000],
    ]) {
      const messages = stream(recvmsgMultishot(b.fd, buffers, { address: true, flags }));
      await submit(sending(a.fd, b.port, data));
      expect((await messages.next()).value).toMatchObject({
        data: data.subarray(0, 100),
        size,
        flags: MSG_TRUNC,
      });
      await messages.return();
    }
  });

  it('brings empty messages, of which each ends the op for the stream to begin it anew', async () => {
    await using fds = new Fds();
    const [a, b] = [await fds.udp(), await fds.udp()];
    using buffers = ring(256);
    const messages = stream(recvmsgMultishot(b.fd, buffers));
    const all = [0, 5, 0, 0, 7].map((length) => bytes(length, 3));
    for (const data of all) await submit(sending(a.fd, b.port, data));
    for (const data of all) expect((await messages.next()).value).toMatchObject({ data, flags: 0 });
    await messages.return();
  });

  it('brings control messages', async () => {
    await using fds = new Fds();
    const [a, b] = [await fds.udp(), await fds.udp()];
    addon().setsockopt(b.fd, SOL_SOCKET, SO_TIMESTAMP, 1);
    using buffers = ring(512);
    const messages = stream(recvmsgMultishot(b.fd, buffers, { address: true, control: 64 }));
    await submit(sending(a.fd, b.port, Buffer.from('timed')));
    const { value } = await messages.next();
    expect(value?.data.toString()).toBe('timed');
    // struct cmsghdr: len, level, type
    expect(value?.control).toHaveLength(32);
    expect(value?.control?.readUInt32LE(0)).toBe(32);
    expect(value?.control?.readUInt32LE(8)).toBe(SOL_SOCKET);
    expect(value?.control?.readUInt32LE(12)).toBe(SO_TIMESTAMP);
    await messages.return();
    const cut = stream(recvmsgMultishot(b.fd, buffers, { control: 8 }));
    await submit(sending(a.fd, b.port, Buffer.from('cut')));
    expect((await cut.next()).value).toMatchObject({
      data: Buffer.from('cut'),
      flags: 8 /* MSG_CTRUNC */,
      control: Buffer.alloc(0),
    });
    await cut.return();
  });

  it('goes on where the ring has run dry, with nothing lost', () =>
    leavesNothing(async () => {
      await using fds = new Fds();
      const [a, b] = [await fds.udp(), await fds.udp()];
      using buffers = ring(2048, 2);
      const all = Array.from({ length: 40 }, (_, i) => bytes(i * 40, i));
      const messages = stream(recvmsgMultishot(b.fd, buffers));
      await batch(all.map((data) => sending(a.fd, b.port, data)));
      for (const data of all) expect((await messages.next()).value?.data.equals(data)).toBe(true);
      expect(buffers.starved).toBeGreaterThan(0);
      await messages.return();
      expect(buffers.available).toBe(2);
    }));

  it('lends the memory itself, and waits when all of it is lent', () =>
    leavesNothing(async () => {
      await using fds = new Fds();
      const [a, b] = [await fds.udp(), await fds.udp()];
      using buffers = ring(256, 2);
      const messages = stream(recvmsgMultishot(b.fd, buffers, { address: true, lease: true }));
      await batch(['a', 'b', 'c'].map((text) => sending(a.fd, b.port, Buffer.from(text))));
      const first = (await messages.next()).value;
      const second = (await messages.next()).value;
      expect([first?.data.toString(), second?.data.toString()]).toEqual(['a', 'b']);
      expect(first?.data.buffer).toBe(buffers.bytes.buffer);
      let third: string | undefined;
      const waiting = messages.next().then(({ value }) => {
        third = value?.data.toString();
        value?.[Symbol.dispose]();
      });
      for (let i = 0; i < 5; i++) await nop();
      expect(third).toBeUndefined();
      first?.[Symbol.dispose]();
      await waiting;
      expect(third).toBe('c');
      expect(second?.data.toString()).toBe('b');
      second?.[Symbol.dispose]();
      await messages.return();
      expect(buffers.available).toBe(2);
    }));

  it('gives back what nobody takes', async () => {
    await using fds = new Fds();
    const [a, b] = [await fds.udp(), await fds.udp()];
    using buffers = ring(256, 4);
    const messages = stream(recvmsgMultishot(b.fd, buffers, { lease: true }));
    const first = messages.next();
    await batch(['a', 'b', 'c'].map((text) => sending(a.fd, b.port, Buffer.from(text))));
    (await first).value?.[Symbol.dispose]();
    await messages.return();
    expect(buffers.available).toBe(4);
  });

  it('fails with ENOBUFS when its ring is closed', async () => {
    await using fds = new Fds();
    const [a, b] = [await fds.udp(), await fds.udp()];
    const buffers = ring(256);
    const waiting = failure(stream(recvmsgMultishot(b.fd, buffers)).next());
    await nop();
    buffers.close();
    await submit(sending(a.fd, b.port, Buffer.from('x')));
    expect(await waiting).toMatchObject({ code: 'ENOBUFS', syscall: 'recvmsg' });
  });

  it('fails for what is no socket', async () => {
    using buffers = ring(256);
    expect(await failure(stream(recvmsgMultishot(999_999, buffers)).next())).toMatchObject({
      code: 'EBADF',
      syscall: 'recvmsg',
      message: 'recvmsg EBADF',
    });
  });

  it('refuses rings that messages do not fit', () => {
    using pieces = new BufferRing({ entries: 2, size: 256 });
    using small = ring(OUT_BYTES + ADDRESS_BYTES - 1);
    if (pieces.incremental)
      expect(() => recvmsgMultishot(1, pieces)).toThrow(/must be made with incremental: false/);
    expect(() => recvmsgMultishot(1, small, { address: true })).toThrow(/"ring.size" is out of range/);
    expect(() => recvmsgMultishot(1, small, { flags: -1 })).toThrow(RangeError);
    expect(() => recvmsgMultishot(1, small, { control: -1 })).toThrow(RangeError);
    expect(() => recvmsgMultishot(1, {} as never)).toThrow(TypeError);
  });
});
