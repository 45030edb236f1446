import { metrics } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import { bytes, failure, fill, leavesNothing, mixed, POLL, pair, readAll, readExactly } from './support.ts';

const KIB = 1024;
const MIB = 1 << 20;

describe('writev', () => {
  it('sends several buffers as one', async () => {
    await using ends = await pair();
    const before = metrics().sqes;
    const sent = await ends.client.writev([
      Buffer.from('one'),
      new Uint8Array(0),
      new DataView(Uint8Array.from([0x20]).buffer),
      Buffer.from('...two...').subarray(3, 6),
    ]);
    expect(sent).toBe(7);
    expect(metrics().sqes - before).toBe(1);
    expect((await readExactly(ends.server, 7)).toString()).toBe('one two');
  });

  it.each([0, 1, 30, 31, 1023, 1024, 1025, 5000])('sends %i buffers', async (count) => {
    await using ends = await pair();
    const buffers = Array.from({ length: count }, (_, i) => bytes(1 + (i % 100), i));
    const all = Buffer.concat(buffers);
    expect(await ends.client.writev(buffers)).toBe(all.length);
    await ends.client.shutdown();
    expect((await readAll(ends.server)).equals(all)).toBe(true);
  });

  it('goes on where the socket took only part, across the buffers', async () => {
    await leavesNothing(async () => {
      await using ends = await pair();
      const buffers = Array.from({ length: 3000 }, (_, i) => bytes(4999 + (i % 7), i));
      const sending = ends.client.writev(buffers).then(() => ends.client.shutdown());
      expect((await readAll(ends.server)).equals(Buffer.concat(buffers))).toBe(true);
      await sending;
    });
  });

  it('keeps its place among other sends, awaited or not', async () => {
    await using ends = await pair();
    const big = bytes(8 * MIB, 1);
    const sends = [
      ends.client.writeAll(big),
      ends.client.writev([Buffer.from('a'), Buffer.from('b')]),
      ends.client.writeAll('c'),
      ends.client.writev([Buffer.from('d')]),
      ends.client.shutdown(),
    ];
    const received = await readAll(ends.server);
    await Promise.all(sends);
    expect(received.subarray(0, big.length).equals(big)).toBe(true);
    expect(received.subarray(big.length).toString()).toBe('abcd');
  });

  it('sends what resizable and shared memory held when it was asked', async () => {
    await using ends = await pair();
    const shared = new Uint8Array(new SharedArrayBuffer(3));
    shared.set([1, 2, 3]);
    const Kind = ArrayBuffer as unknown as new (
      length: number,
      options: { maxByteLength: number },
    ) => ArrayBuffer & { resize(length: number): void };
    const memory = new Kind(3, { maxByteLength: 8 });
    new Uint8Array(memory).set([4, 5, 6]);
    const sending = ends.client.writev([shared, new Uint8Array(memory)]);
    memory.resize(0);
    expect(await sending).toBe(6);
    expect([...(await readExactly(ends.server, 6))]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('has its bytes although somebody tries to take them away meanwhile', async () => {
    await using ends = await pair();
    const { waiting } = await fill(ends.client);
    const view = Buffer.from(new Uint8Array(bytes(MIB, 2)).buffer);
    const expected = Buffer.from(view);
    const sending = ends.client.writev([view, Buffer.from('!')]);
    try {
      new ReadableStream({ type: 'bytes', start: (controller) => controller.enqueue(view) });
    } catch {
      // Node 24 and newer let nobody.
    }
    const received = readAll(ends.server);
    await Promise.all([waiting, sending, ends.client.shutdown()]);
    expect((await received).subarray(-MIB - 1).equals(Buffer.concat([expected, Buffer.from('!')]))).toBe(
      true,
    );
  });

  it('cancelled before its turn sends nothing, and the others are sent', async () => {
    await using ends = await pair();
    const { waiting } = await fill(ends.client);
    const sending = ends.client.writev([Buffer.from('never')]);
    const failed = failure(sending);
    const after = ends.client.writeAll('after');
    sending.cancel();
    const error = await failed;
    expect(error).toMatchObject({ code: 'ABORT_ERR' });
    const ended = ends.client.shutdown();
    const received = await readAll(ends.server);
    await Promise.all([waiting, after, ended]);
    expect(received.subarray(-5).toString()).toBe('after');
    expect(received.includes('never')).toBe(false);
  });

  it('cancelled on the way says how much was sent, which is what arrives', async () => {
    await using ends = await pair();
    const buffers = Array.from({ length: 100 }, (_, i) => bytes(MIB, i));
    const sending = ends.client.writev(buffers);
    const failed = failure(sending);
    await expect.poll(() => metrics().inFlight, POLL).toBeGreaterThan(0);
    sending.cancel();
    const { code, bytesTransferred = 0 } = await failed;
    expect(code).toBe('ABORT_ERR');
    expect(bytesTransferred).toBeGreaterThan(0);
    expect(ends.client.bytesWritten).toBe(bytesTransferred);
    const ended = ends.client.shutdown();
    const received = await readAll(ends.server);
    await ended;
    expect(received.length).toBe(bytesTransferred);
    expect(received.equals(Buffer.concat(buffers).subarray(0, received.length))).toBe(true);
  });

  it('is given up by signal and timeout', async () => {
    await using ends = await pair();
    const { waiting } = await fill(ends.client);
    const controller = new AbortController();
    const aborted = failure(ends.client.writev([Buffer.from('x')], { signal: controller.signal }));
    controller.abort();
    expect(await aborted).toMatchObject({ code: 'ABORT_ERR' });
    expect(await failure(ends.client.writev([Buffer.from('x')], { timeout: 5 }))).toMatchObject({
      code: 'ETIMEDOUT',
    });
    await ends.client.close();
    await waiting.catch(() => {});
  });

  it('fails with ECANCELED when the stream is closed meanwhile, with EBADF afterwards', async () => {
    await leavesNothing(async () => {
      await using ends = await pair();
      const { waiting } = await fill(ends.client);
      const waits = failure(waiting);
      const queued = failure(ends.client.writev([Buffer.from('x')]));
      await ends.client.close();
      expect(await waits).toMatchObject({ code: 'ECANCELED' });
      expect(await queued).toMatchObject({ code: 'ECANCELED', syscall: 'write' });
      expect(await failure(ends.client.writev([Buffer.from('x')]))).toMatchObject({ code: 'EBADF' });
    });
  });

  it('after the end of the writing side is EPIPE', async () => {
    await using ends = await pair();
    await ends.client.shutdown();
    expect(await failure(ends.client.writev([Buffer.from('x')]))).toMatchObject({
      code: 'EPIPE',
      syscall: 'write',
    });
  });

  it.each([
    ['no array', 'x'],
    ['a string in it', ['x']],
    ['nothing in it', [undefined]],
  ])('throws a TypeError for %s', async (_, buffers) => {
    await using ends = await pair();
    expect(() => ends.client.writev(buffers as never)).toThrow(TypeError);
  });

  it('throws a TypeError for a detached buffer', async () => {
    await using ends = await pair();
    const view = new Uint8Array(8);
    structuredClone(view.buffer, { transfer: [view.buffer] });
    expect(() => ends.client.writev([view])).toThrow(TypeError);
  });
});

describe('the counters of a stream', () => {
  it('count what has been received, taken or not, and what the kernel has taken', async () => {
    await using ends = await pair();
    await ends.client.writeAll('hello');
    await ends.client.writev([Buffer.from('wor'), Buffer.from('ld')]);
    await ends.client.write('!');
    expect(ends.client.bytesWritten).toBe(11);
    expect(ends.client.bytesQueued).toBe(0);
    const buffer = Buffer.alloc(4);
    await ends.server.readExact(buffer);
    expect(ends.server.bytesRead).toBe(4);
    for await (const _ of ends.server) break;
    expect(ends.server.bytesRead).toBe(11);
    expect(ends.server.buffered).toBe(0);
  });

  it('know what waits to be sent, until it is or has failed', async () => {
    await using ends = await mixed();
    const { waiting, size } = await fill(ends.stream);
    const more = ends.stream.writev([Buffer.alloc(KIB), Buffer.alloc(KIB)]);
    const given = ends.stream.writeAll(Buffer.alloc(KIB));
    const failed = failure(given);
    const { bytesQueued, bytesWritten } = ends.stream;
    expect(bytesQueued + bytesWritten).toBe(size + 3 * KIB);
    given.cancel();
    await failed;
    expect(ends.stream.bytesQueued + ends.stream.bytesWritten).toBe(size + 2 * KIB);
    ends.socket.resume();
    await Promise.all([waiting, more]);
    expect(ends.stream.bytesQueued).toBe(0);
    expect(ends.stream.bytesWritten).toBe(size + 2 * KIB);
  });

  it('have nothing queued after a reset', async () => {
    await using ends = await mixed();
    const { waiting } = await fill(ends.stream);
    const failed = failure(waiting);
    const queued = failure(ends.stream.writeAll('x'));
    ends.socket.resetAndDestroy();
    expect(await failed).toMatchObject({ code: expect.stringMatching(/ECONNRESET|EPIPE/) });
    await queued;
    expect(ends.stream.bytesQueued).toBe(0);
  });
});

describe('the idle timeout of a stream', () => {
  it('is none unless set, and may be taken back', async () => {
    await using ends = await pair();
    expect(ends.server.idleTimeout).toBe(0);
    ends.server.idleTimeout = 20;
    expect(ends.server.idleTimeout).toBe(20);
    const reading = ends.server.read(Buffer.alloc(5));
    ends.server.idleTimeout = 0;
    await new Promise((later) => setTimeout(later, 60));
    await ends.client.writeAll('hello');
    expect(await reading).toBe(5);
  });

  it.each([
    ['read', (stream: Ends) => stream.read(Buffer.alloc(1))],
    ['readExact', (stream: Ends) => stream.readExact(Buffer.alloc(1))],
    ['readUntil', (stream: Ends) => stream.readUntil('\n')],
    ['a loop', (stream: Ends) => stream.chunks().next()],
    ['a loop of leases', (stream: Ends) => stream.chunks({ lease: true }).next()],
    ['lines', (stream: Ends) => stream.splitLines().next()],
  ] as const)('fails %s that waits with ETIMEDOUT, and the stream stays open', async (_, wait) => {
    await leavesNothing(async () => {
      await using ends = await pair();
      ends.server.idleTimeout = 20;
      expect(await failure(wait(ends.server))).toMatchObject({ code: 'ETIMEDOUT' });
      await ends.client.writeAll('x\n');
      expect((await ends.server.readUntil('\n')).toString()).toBe('x\n');
    });
  });

  it('fails sends that nobody takes', async () => {
    await using ends = await mixed();
    ends.stream.idleTimeout = 50;
    const sending = failure(ends.stream.writeAll(Buffer.alloc(64 * MIB)));
    const queued = failure(ends.stream.writeAll('x'));
    const error = await sending;
    expect(error).toMatchObject({ code: 'ETIMEDOUT', syscall: 'write' });
    expect(error.bytesTransferred).toBe(ends.stream.bytesWritten);
    expect(await queued).toMatchObject({ code: 'ETIMEDOUT' });
  });

  it('set while something waits holds for that too', async () => {
    await using ends = await pair();
    const reading = failure(ends.server.read(Buffer.alloc(1)));
    ends.server.idleTimeout = 20;
    expect(await reading).toMatchObject({ code: 'ETIMEDOUT' });
  });

  it('does not come while bytes move, in either direction', async () => {
    await using ends = await pair();
    ends.server.idleTimeout = 200;
    const reading = ends.server.read(Buffer.alloc(1));
    let settled = false;
    const end = reading.then(() => {
      settled = true;
    });
    for (let i = 0; i < 20; i++) {
      await new Promise((later) => setTimeout(later, 25));
      await ends.server.writeAll('still here');
    }
    expect(settled).toBe(false);
    await ends.client.writeAll('x');
    await end;
  });

  it('counts from when something begins to wait', async () => {
    await using ends = await pair();
    ends.server.idleTimeout = 100;
    await ends.client.writeAll('x');
    await ends.server.read(Buffer.alloc(1));
    await new Promise((later) => setTimeout(later, 300));
    const reading = ends.server.read(Buffer.alloc(1));
    await ends.client.writeAll('y');
    expect(await reading).toBe(1);
  });

  it('costs no op where nothing waits, and holds up no close', async () => {
    await leavesNothing(async () => {
      await using ends = await pair();
      const before = metrics().sqes;
      ends.server.idleTimeout = 1_000_000;
      expect(metrics().sqes).toBe(before);
      const reading = failure(ends.server.read(Buffer.alloc(1)));
      await ends.server.close();
      expect(await reading).toMatchObject({ code: 'ECANCELED' });
    });
  });

  it.each([-1, 0.5, 2 ** 31, Number.NaN])('of %s is a RangeError', async (ms) => {
    await using ends = await pair();
    expect(() => {
      ends.server.idleTimeout = ms;
    }).toThrow(RangeError);
  });
});

type Ends = Awaited<ReturnType<typeof pair>>['server'];
