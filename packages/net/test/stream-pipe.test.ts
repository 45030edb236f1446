import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { ReadableStream, WritableStream } from 'node:stream/web';
import { File } from '@ouro/fs';
import { metrics } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { bytes, failure, fill, leavesNothing, mixed, POLL, pair, readAll, readExactly } from './support.ts';

const KIB = 1024;
const MIB = 1 << 20;

/** A Writable that takes chunks when it is let. */
class Slow extends Writable {
  readonly chunks: Buffer[] = [];
  #taken: ((error?: Error) => void) | null = null;

  constructor() {
    super({ highWaterMark: 1 });
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error) => void): void {
    this.chunks.push(chunk);
    this.#taken = done;
  }

  /** Whether it has a chunk in hand. */
  get busy(): boolean {
    return this.#taken !== null;
  }

  take(): void {
    this.fail(undefined);
  }

  fail(error: Error | undefined): void {
    const taken = this.#taken;
    this.#taken = null;
    taken?.(error);
  }
}

describe('pipe', () => {
  it.each([0, 1, 64 * KIB, 5 * MIB + 1])('brings %i bytes to another stream, and its end', async (size) => {
    await leavesNothing(async () => {
      await using from = await pair();
      await using to = await pair();
      const sent = bytes(size, 1);
      const piping = from.server.pipe(to.client);
      const sending = from.client.writeAll(sent).then(() => from.client.shutdown());
      expect((await readAll(to.server)).equals(sent)).toBe(true);
      expect(await piping).toBe(size);
      await sending;
    });
  });

  it('leaves the other stream open if it is told to', async () => {
    await using from = await pair();
    await using to = await pair();
    await from.client.writeAll('first ');
    await from.client.shutdown();
    expect(await from.server.pipe(to.client, { end: false })).toBe(6);
    await to.client.writeAll('second');
    expect((await readExactly(to.server, 12)).toString()).toBe('first second');
  });

  it('fills a file, and closes it', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'ouro-pipe-'));
    try {
      await using from = await pair();
      const file = await File.open(join(dir, 'file'), 'w');
      const sent = bytes(3 * MIB + 5, 2);
      const sending = from.client.writeAll(sent).then(() => from.client.shutdown());
      expect(await from.server.pipe(file)).toBe(sent.length);
      await sending;
      expect(file.fd).toBe(-1);
      expect(readFileSync(join(dir, 'file')).equals(sent)).toBe(true);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  it('fills a Writable, waiting for it, and finishes it', async () => {
    await using from = await mixed();
    const to = new Slow();
    const piping = from.stream.pipe(to);
    const sent = bytes(8 * MIB, 3);
    from.socket.write(sent);
    from.socket.end();
    await expect.poll(() => to.busy, POLL).toBe(true);
    // Nothing is taken from the peer beyond what a slow reader is given.
    await expect.poll(() => metrics().inFlight, POLL).toBe(0);
    expect(from.stream.buffered).toBeLessThanOrEqual((4096 + 256 + 64) * KIB);
    const draining = setInterval(() => to.take(), 0);
    expect(await piping).toBe(sent.length);
    clearInterval(draining);
    expect(Buffer.concat(to.chunks).equals(sent)).toBe(true);
    expect(to.writableFinished).toBe(true);
  });

  it('brings everything to whatever has a writeAll, and closes it', async () => {
    await using from = await pair();
    const parts: Buffer[] = [];
    let closed = false;
    const to = {
      writeAll: async (data: Uint8Array) => void parts.push(data as Buffer),
      close: async () => {
        closed = true;
      },
    };
    const sent = bytes(MIB, 4);
    const sending = from.client.writeAll(sent).then(() => from.client.shutdown());
    expect(await from.server.pipe(to)).toBe(MIB);
    await sending;
    expect(Buffer.concat(parts).equals(sent)).toBe(true);
    expect(closed).toBe(true);
  });

  it('begins with what has arrived already', async () => {
    await using from = await pair();
    await using to = await pair();
    await from.client.writeAll('abc');
    for await (const _ of from.server) break;
    await from.client.writeAll('one\ntwo');
    expect((await from.server.readUntil('\n')).toString()).toBe('one\n');
    await from.client.shutdown();
    expect(await from.server.pipe(to.client)).toBe(3);
    expect((await readAll(to.server)).toString()).toBe('two');
  });

  it('cancelled while it waits for bytes says how many went through, and both streams stay open', async () => {
    await leavesNothing(async () => {
      await using from = await pair();
      await using to = await pair();
      const piping = from.server.pipe(to.client);
      const failed = failure(piping);
      await from.client.writeAll('hello');
      expect((await readExactly(to.server, 5)).toString()).toBe('hello');
      await expect.poll(() => from.server.receiver?.awaited, POLL).toBe(true);
      piping.cancel(new Error('enough'));
      expect(await failed).toMatchObject({ code: 'ABORT_ERR', bytesTransferred: 5 });
      await from.client.writeAll('kept');
      await to.client.writeAll('open');
      expect((await readExactly(from.server, 4)).toString()).toBe('kept');
      expect((await readExactly(to.server, 4)).toString()).toBe('open');
    });
  });

  it('cancelled while it waits to write puts back what has not been written: not a byte is lost', async () => {
    await using from = await mixed();
    await using to = await pair();
    const sent = bytes(32 * MIB, 5);
    from.socket.write(sent);
    from.socket.end();
    const controller = new AbortController();
    const piping = failure(from.stream.pipe(to.client, { signal: controller.signal }));
    await expect.poll(() => to.client.bytesQueued, POLL).toBeGreaterThan(0);
    controller.abort();
    const { code, bytesTransferred = 0 } = await piping;
    expect(code).toBe('ABORT_ERR');
    const there = await readExactly(to.server, bytesTransferred);
    expect(there.equals(sent.subarray(0, bytesTransferred))).toBe(true);
    expect((await readAll(from.stream)).equals(sent.subarray(bytesTransferred))).toBe(true);
  });

  it('runs out of time', async () => {
    await using from = await pair();
    await using to = await pair();
    expect(await failure(from.server.pipe(to.client, { timeout: 10 }))).toMatchObject({ code: 'ETIMEDOUT' });
  });

  it('fails with the target: what was not written can still be read', async () => {
    await using from = await pair();
    const to = {
      count: 0,
      async writeAll(data: Uint8Array): Promise<void> {
        if (this.count > 0) throw new Error('full');
        this.count += data.length;
      },
    };
    const piping = failure(from.server.pipe(to));
    await from.client.writeAll('first');
    await expect.poll(() => to.count, POLL).toBe(5);
    await from.client.writeAll('second');
    expect(await piping).toMatchObject({ message: 'full', bytesTransferred: 5 });
    expect((await readExactly(from.server, 6)).toString()).toBe('second');
  });

  it('fails with a peer that is gone', async () => {
    await using from = await pair();
    await using to = await mixed();
    to.socket.resetAndDestroy();
    const piping = failure(from.server.pipe(to.stream));
    const sending = from.client.writeAll(Buffer.alloc(MIB)).catch(() => {});
    expect(await piping).toMatchObject({ code: expect.stringMatching(/ECONNRESET|EPIPE/) });
    await from.server.close();
    await sending;
  });

  it.each(['destroyed', 'destroyed with an error', 'ended'])(
    'fails with a Writable that is %s meanwhile',
    async (how) => {
      await using from = await pair();
      const to = new Slow();
      to.on('error', () => {});
      const piping = failure(from.server.pipe(to));
      await from.client.writeAll('first');
      await expect.poll(() => to.busy, POLL).toBe(true);
      if (how === 'ended') {
        to.end();
        to.take();
        await from.client.writeAll('second');
        expect(await piping).toMatchObject({ code: 'ERR_STREAM_PREMATURE_CLOSE', bytesTransferred: 5 });
        expect((await readExactly(from.server, 6)).toString()).toBe('second');
      } else {
        to.destroy(how === 'destroyed' ? undefined : new Error('disk full'));
        const error = await piping;
        // Nobody knows whether it was written.
        expect(error.bytesTransferred).toBeUndefined();
        expect((await readExactly(from.server, 5)).toString()).toBe('first');
        expect(error.message).toBe(how === 'destroyed' ? 'Premature close' : 'disk full');
      }
      expect(to.listenerCount('drain')).toBe(0);
    },
  );

  it('counts what a Writable has written, not what it has failed at, which can be read again', async () => {
    await using from = await pair();
    const to = new Slow();
    to.on('error', () => {});
    const piping = failure(from.server.pipe(to));
    await from.client.writeAll('first');
    await expect.poll(() => to.busy, POLL).toBe(true);
    to.take();
    await from.client.writeAll('second');
    await expect.poll(() => to.chunks.length, POLL).toBe(2);
    to.fail(new Error('disk full'));
    expect(await piping).toMatchObject({ message: 'disk full', bytesTransferred: 5 });
    expect((await readExactly(from.server, 6)).toString()).toBe('second');
  });

  it('fails with ECONNRESET of its own peer, and leaves the target open', async () => {
    await using from = await mixed();
    await using to = await pair();
    const piping = failure(from.stream.pipe(to.client));
    from.socket.write('hello');
    expect((await readExactly(to.server, 5)).toString()).toBe('hello');
    from.socket.resetAndDestroy();
    expect(await piping).toMatchObject({ code: 'ECONNRESET', bytesTransferred: 5 });
    await to.client.writeAll('open');
    expect((await readExactly(to.server, 4)).toString()).toBe('open');
  });

  it.each(['source', 'target'])('fails with ECANCELED when the %s is closed meanwhile', async (which) => {
    await leavesNothing(async () => {
      await using from = await pair();
      await using to = await pair();
      const { waiting } = await fill(to.client);
      waiting.catch(() => {});
      const piping = failure(from.server.pipe(to.client));
      if (which === 'target') {
        await from.client.writeAll('x');
        await expect.poll(() => from.server.bytesRead, POLL).toBe(1);
        await to.client.close();
      } else await from.server.close();
      expect(await piping).toMatchObject({ code: 'ECANCELED' });
    });
  });

  it('is refused while a read waits', async () => {
    await using from = await pair();
    await using to = await pair();
    const reading = from.server.read(Buffer.alloc(1));
    expect(await failure(from.server.pipe(to.client))).toMatchObject({ code: 'ERR_INVALID_STATE' });
    await from.client.writeAll('x');
    expect(await reading).toBe(1);
  });

  it.each([undefined, null, 'x', {}, { writev() {} }])(
    'throws a TypeError for a target that is none (%o)',
    async (to) => {
      await using from = await pair();
      expect(() => from.server.pipe(to as never)).toThrow(TypeError);
    },
  );
});

describe('readable', () => {
  const all = async (stream: AsyncIterable<Uint8Array>): Promise<Buffer> => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    return Buffer.concat(chunks);
  };

  it('is a stream of all bytes that arrive', async () => {
    await using ends = await pair();
    const sent = bytes(5 * MIB, 1);
    const sending = ends.client.writeAll(sent).then(() => ends.client.shutdown());
    const stream = ends.server.readable();
    expect(stream).toBeInstanceOf(ReadableStream);
    expect((await all(stream)).equals(sent)).toBe(true);
    await sending;
  });

  it('reads nothing before it is asked for', async () => {
    await using ends = await pair();
    const before = metrics().sqes;
    const stream = ends.server.readable();
    await new Promise(setImmediate);
    expect(metrics().sqes).toBe(before);
    await stream.cancel();
  });

  it('fills the buffers of a reader that brings its own, and keeps what they have no room for', async () => {
    await using ends = await pair();
    const reader = ends.server.readable().getReader({ mode: 'byob' });
    await ends.client.writeAll('hello world');
    const texts: string[] = [];
    for (let i = 0; i < 4; i++) {
      const { value } = await reader.read(new Uint8Array(3));
      texts.push(Buffer.from(value ?? []).toString());
    }
    expect(texts).toEqual(['hel', 'lo ', 'wor', 'ld']);
    await ends.client.shutdown();
    expect((await reader.read(new Uint8Array(3))).done).toBe(true);
  });

  it('cancelled leaves the connection open, and what has arrived to the next reader', async () => {
    await leavesNothing(async () => {
      await using ends = await pair();
      const reader = ends.server.readable().getReader({ mode: 'byob' });
      await ends.client.writeAll('hello');
      await reader.read(new Uint8Array(2));
      await reader.cancel();
      expect((await readExactly(ends.server, 3)).toString()).toBe('llo');
      const waiting = ends.server.readable().getReader();
      const read = waiting.read();
      await waiting.cancel();
      expect((await read).done).toBe(true);
      await ends.client.writeAll('more');
      expect((await readExactly(ends.server, 4)).toString()).toBe('more');
    });
  });

  it.each(['end', 'cancel', 'error'])('with autoClose closes the connection after its %s', async (how) => {
    await using ends = await mixed();
    const reader = ends.stream.readable({ autoClose: true }).getReader();
    if (how === 'end') {
      ends.socket.end('x');
      await reader.read();
      await reader.read();
    } else if (how === 'cancel') await reader.cancel();
    else {
      const read = failure(reader.read());
      ends.socket.resetAndDestroy();
      expect(await read).toMatchObject({ code: 'ECONNRESET' });
    }
    await expect.poll(() => ends.stream.fd, POLL).toBe(-1);
  });

  it('fails with a timeout, a signal, and when the stream is closed meanwhile', async () => {
    await using ends = await pair();
    const late = ends.server.readable({ timeout: 5 }).getReader();
    expect(await failure(late.read())).toMatchObject({ code: 'ETIMEDOUT' });
    const controller = new AbortController();
    const aborted = failure(ends.server.readable({ signal: controller.signal }).getReader().read());
    controller.abort();
    expect(await aborted).toMatchObject({ code: 'ABORT_ERR' });
    const closed = failure(ends.server.readable().getReader().read());
    await ends.server.close();
    expect(await closed).toMatchObject({ code: 'EBADF' });
  });

  it('of small chunks takes no memory of others along', async () => {
    await using ends = await pair();
    await using other = await pair();
    const loop = other.server[Symbol.asyncIterator]();
    const reader = ends.server.readable().getReader();
    for (let i = 0; i < 20; i++) {
      await other.client.writeAll(`kept ${i}`);
      const { value } = await loop.next();
      await ends.client.writeAll('given');
      const given = (await reader.read()).value;
      const memory = given?.buffer as ArrayBuffer;
      structuredClone(memory, { transfer: [memory] });
      expect(value?.toString()).toBe(`kept ${i}`);
    }
  });
});

describe('writable', () => {
  it('sends what is written to it, and ends the writing side when it is closed', async () => {
    await using ends = await pair();
    const stream = ends.client.writable();
    expect(stream).toBeInstanceOf(WritableStream);
    const writer = stream.getWriter();
    await writer.write('text ');
    await writer.write(new Uint8Array([0x61]));
    await writer.write(new Uint8Array([0x62]).buffer);
    await writer.close();
    expect((await readAll(ends.server)).toString()).toBe('text ab');
    expect(ends.client.fd).toBeGreaterThan(0);
  });

  it('echoes through both, every byte right', async () => {
    await leavesNothing(async () => {
      await using ends = await pair();
      const echoing = ends.server.readable().pipeTo(ends.server.writable());
      const sent = bytes(5 * MIB, 7);
      const sending = ends.client.writeAll(sent).then(() => ends.client.shutdown());
      expect((await readAll(ends.client)).equals(sent)).toBe(true);
      await Promise.all([echoing, sending]);
    });
  });

  it('has real back-pressure', async () => {
    await using ends = await mixed();
    const writer = ends.stream.writable({ highWaterMark: 1000 }).getWriter();
    expect(writer.desiredSize).toBe(1000);
    const writing = writer.write(Buffer.alloc(32 * MIB));
    writing.catch(() => {});
    expect(writer.desiredSize).toBe(1000 - 32 * MIB);
    ends.socket.resume();
    await writing;
    expect(writer.desiredSize).toBe(1000);
  });

  it('aborted gives up the chunk in hand', async () => {
    await leavesNothing(async () => {
      await using ends = await mixed();
      const writer = ends.stream.writable().getWriter();
      const writing = failure(writer.write(Buffer.alloc(64 * MIB)));
      await expect.poll(() => ends.stream.bytesQueued, POLL).toBeGreaterThan(0);
      await writer.abort(new Error('enough'));
      expect(await writing).toMatchObject({ message: expect.stringMatching(/aborted|enough/) });
      expect(ends.stream.bytesQueued).toBe(0);
      expect(ends.stream.fd).toBeGreaterThan(0);
    });
  });

  it.each(['close', 'abort', 'error'])('with autoClose closes the connection after its %s', async (how) => {
    await using ends = await mixed();
    const writer = ends.stream.writable({ autoClose: true }).getWriter();
    writer.closed.catch(() => {});
    if (how === 'close') await writer.close();
    else if (how === 'abort') await writer.abort();
    else {
      const writing = failure(writer.write(Buffer.alloc(64 * MIB)));
      ends.socket.resetAndDestroy();
      expect(await writing).toMatchObject({ code: expect.stringMatching(/ECONNRESET|EPIPE/) });
    }
    await expect.poll(() => ends.stream.fd, POLL).toBe(-1);
  });

  it('leaves the memory of chunks transferable', async () => {
    await using ends = await pair();
    const chunk = Buffer.from(new Uint8Array(100_000).buffer);
    await ends.client.writable().getWriter().write(chunk);
    structuredClone(chunk.buffer, { transfer: [chunk.buffer] });
    expect(chunk.byteLength).toBe(0);
    expect((await readExactly(ends.server, 100_000)).length).toBe(100_000);
  });

  it('fails for what is no chunk', async () => {
    await using ends = await pair();
    const writer = ends.client.writable().getWriter();
    writer.closed.catch(() => {});
    expect(await failure(writer.write(7 as never))).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
  });
});

describe('a pipe to standard output', () => {
  it('does not end it: others write there, too', async () => {
    const { stdout } = await runProgram(`
      import { UnixStream } from '@ouro/net';
      const [one, other] = UnixStream.pair();
      await one.writeAll('piped\\n');
      await one.shutdown();
      await other.pipe(process.stdout);
      console.log('and more');
    `);
    expect(stdout).toBe('piped\nand more\n');
  });
});
