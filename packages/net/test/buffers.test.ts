import { once } from 'node:events';
import { MessageChannel } from 'node:worker_threads';
import type { TcpStream } from '@ouro/net';
import { metrics } from '@ouro/runtime';
import { addressOf, UNSTABLE } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { bytes, failure, fill, POLL, pair, readAll, readExactly } from './support.ts';

const MIB = 1 << 20;

/** Node 22 lets go of memory that it was asked to keep. */
const UNPINNED = addressOf(new Uint8Array(8)) === UNSTABLE;

/** Tries to move memory to somebody else: some versions of Node copy instead, others refuse. */
function transfer(memory: ArrayBuffer): void {
  try {
    structuredClone(memory, { transfer: [memory] });
  } catch {
    // Refused.
  }
}

/** Takes memory away for good. */
function detached(length: number): Uint8Array {
  const view = new Uint8Array(length);
  structuredClone(view.buffer, { transfer: [view.buffer] });
  expect(view.byteLength).toBe(0);
  return view;
}

const resizable = (length: number, most: number): ArrayBuffer & { resize(length: number): void } => {
  const Kind = ArrayBuffer as unknown as new (
    length: number,
    options: { maxByteLength: number },
  ) => ArrayBuffer & { resize(length: number): void };
  return new Kind(length, { maxByteLength: most });
};

/** What is used of WebAssembly, whose types come with those of a browser only. */
interface WebAssemblyNamespace {
  readonly Memory: new (descriptor: {
    initial: number;
    maximum?: number;
  }) => { readonly buffer: ArrayBuffer; grow(pages: number): number };
}

const inKernel = (): Promise<void> => expect.poll(() => metrics().inFlight, POLL).toBeGreaterThan(0);

/** Expects `hello` in the buffer that was to be read into, or else, where Node let it go, still in the stream. */
async function holdsHello(reading: Promise<number>, view: Uint8Array, stream: TcpStream): Promise<void> {
  if (view.byteLength > 0) {
    expect(await reading).toBe(5);
    expect(Buffer.from(view.buffer, view.byteOffset, 5).toString()).toBe('hello');
  } else {
    expect(UNPINNED).toBe(true);
    await expect(reading).rejects.toBeInstanceOf(TypeError);
    expect((await readExactly(stream, 5)).toString()).toBe('hello');
  }
}

describe('a buffer that is read into', () => {
  it('gets its bytes although somebody tries to transfer it meanwhile', async () => {
    await using ends = await pair();
    const view = new Uint8Array(16);
    const reading = ends.server.read(view);
    await inKernel();
    transfer(view.buffer);
    await ends.client.writeAll('hello');
    await holdsHello(reading, view, ends.server);
  });

  it('gets its bytes although somebody posts it to a port meanwhile', async () => {
    await using ends = await pair();
    const { port1, port2 } = new MessageChannel();
    const view = new Uint8Array(16);
    const reading = ends.server.read(view);
    await inKernel();
    const posted = once(port2, 'message');
    try {
      port1.postMessage(view, [view.buffer]);
      await posted;
    } catch {
      // Refused.
    }
    await ends.client.writeAll('hello');
    await holdsHello(reading, view, ends.server);
    port1.close();
  });

  it('is refused with a TypeError if it is detached', async () => {
    await using ends = await pair();
    expect(() => ends.server.read(detached(8))).toThrow(TypeError);
    await ends.client.writeAll('hello');
    expect((await readExactly(ends.server, 5)).toString()).toBe('hello');
  });

  it('is refused with a TypeError if it is detached while a loop has bytes for it', async () => {
    await using ends = await pair();
    await ends.client.writeAll('1');
    for await (const _ of ends.server) {
      await ends.client.writeAll('hello');
      await expect.poll(() => ends.server.buffered, POLL).toBe(5);
      break;
    }
    expect(() => ends.server.read(detached(8))).toThrow(TypeError);
    expect((await readExactly(ends.server, 5)).toString()).toBe('hello');
  });

  it('can be resizable', async () => {
    await using ends = await pair();
    const memory = resizable(8, 16);
    const reading = ends.server.read(new Uint8Array(memory, 2, 5));
    await ends.client.writeAll('hello');
    expect(await reading).toBe(5);
    expect(Buffer.from(memory).toString('latin1')).toBe('\0\0hello\0');
  });

  it('can grow meanwhile', async () => {
    await using ends = await pair();
    const memory = resizable(5, 1 * MIB);
    const reading = ends.server.read(new Uint8Array(memory, 0, 5));
    await inKernel();
    memory.resize(1 * MIB);
    await ends.client.writeAll('hello');
    expect(await reading).toBe(5);
    expect(Buffer.from(memory, 0, 6).toString('latin1')).toBe('hello\0');
  });

  it('that has shrunk meanwhile gets what fits, and the next read the rest', async () => {
    await using ends = await pair();
    const memory = resizable(16, 16);
    const reading = ends.server.read(new Uint8Array(memory));
    await inKernel();
    memory.resize(2);
    await ends.client.writeAll('hello');
    expect(await reading).toBe(2);
    expect(Buffer.from(memory).toString()).toBe('he');
    expect((await readExactly(ends.server, 3)).toString()).toBe('llo');
  });

  it('that has shrunk to nothing fails with a TypeError, and the bytes stay for the next read', async () => {
    await using ends = await pair();
    const memory = resizable(16, 16);
    const reading = ends.server.read(new Uint8Array(memory, 4, 8));
    await inKernel();
    memory.resize(0);
    await ends.client.writeAll('hello');
    await expect(reading).rejects.toBeInstanceOf(TypeError);
    expect((await readExactly(ends.server, 5)).toString()).toBe('hello');
  });

  it('that was detached while it waited fails with a TypeError, and the bytes stay for the next read', async () => {
    await using ends = await pair();
    // Resizable memory can be transferred: it is written to only when the bytes are there.
    const memory = resizable(16, 16);
    const reading = ends.server.read(new Uint8Array(memory));
    await inKernel();
    transfer(memory);
    expect(memory.byteLength).toBe(0);
    await ends.client.writeAll('hello');
    await expect(reading).rejects.toBeInstanceOf(TypeError);
    expect((await readExactly(ends.server, 5)).toString()).toBe('hello');
  });

  it('can be shared memory', async () => {
    await using ends = await pair();
    const memory = new SharedArrayBuffer(8);
    await ends.client.writeAll('hello');
    expect(await ends.server.read(new Uint8Array(memory, 1, 6))).toBe(5);
    expect([...new Uint8Array(memory)]).toEqual([0, ...Buffer.from('hello'), 0, 0]);
  });

  it('can be the memory of a WebAssembly module', async () => {
    await using ends = await pair();
    const { Memory } = (globalThis as unknown as { WebAssembly: WebAssemblyNamespace }).WebAssembly;
    const memory = new Memory({ initial: 1, maximum: 2 });
    const reading = ends.server.read(new Uint8Array(memory.buffer, 100, 5));
    await ends.client.writeAll('hello');
    expect(await reading).toBe(5);
    expect(Buffer.from(memory.buffer, 100, 5).toString()).toBe('hello');
  });

  it.each([
    ['read into', 1, 2],
    ['sent', 1, 2],
    ['read into, where there is no room to grow in place', 1, undefined],
    ['sent, where there is no room to grow in place', 1, undefined],
  ])(
    'can be the memory of a WebAssembly module that grows while it is %s',
    async (what, initial, maximum) => {
      await using ends = await pair();
      const { Memory } = (globalThis as unknown as { WebAssembly: WebAssemblyNamespace }).WebAssembly;
      const memory = new Memory(maximum === undefined ? { initial } : { initial, maximum });
      const view = new Uint8Array(memory.buffer, 100, 5);
      if (what.startsWith('read')) {
        const reading = ends.server.read(view);
        memory.grow(1);
        await ends.client.writeAll('hello');
        if (UNPINNED)
          expect(await failure(reading)).toMatchObject({ message: expect.stringContaining('detached') });
        else expect(await reading).toBe(5);
      } else {
        view.set(Buffer.from('hello'));
        const sending = ends.client.writeAll(view);
        memory.grow(1);
        expect(await sending).toBe(5);
        expect((await readExactly(ends.server, 5)).toString()).toBe('hello');
      }
      expect(view.length).toBe(0);
      expect(() => ends.client.writeAll(view)).toThrow(TypeError);
      expect(memory.buffer.byteLength).toBe(2 * 65_536);
    },
  );

  it('may be forgotten by everybody else', async () => {
    const { code, stdout, stderr } = await runProgram(
      `
      import { TcpListener, TcpStream } from '@ouro/net';
      const listener = await TcpListener.bind({ host: '127.0.0.1' });
      const [server, client] = await Promise.all([
        listener.accept(),
        TcpStream.connect({ host: '127.0.0.1', port: listener.address.port }),
      ]);
      await listener.close();
      const ones = Buffer.alloc(1 << 20, 1);
      for (let round = 0; round < 20; round++) {
        const reading = (() => server.read(new Uint8Array(1 << 20)))();
        await new Promise(setImmediate);
        for (let i = 0; i < 3; i++) gc();
        const others = Array.from({ length: 8 }, () => new Uint8Array(1 << 20).fill(1));
        await client.writeAll(new Uint8Array(1000).fill(2));
        const count = await reading;
        if (count !== 1000 || others.some((other) => !ones.equals(other))) console.log('broken', count);
      }
      await Promise.all([server.close(), client.close()]);
      console.log('done');
    `,
      { flags: ['--expose-gc'] },
    );
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'done\n', stderr: '' });
  });
});

describe('a buffer that is sent', () => {
  it('is sent as it is although somebody tries to transfer it meanwhile', async () => {
    await using ends = await pair();
    const data = bytes(16 * MIB, 1);
    const memory = new Uint8Array(data.length);
    memory.set(data);
    const sending = ends.client.writeAll(memory).then(() => ends.client.shutdown());
    await inKernel();
    transfer(memory.buffer);
    expect((await readAll(ends.server)).equals(data)).toBe(true);
    await sending;
  });

  it('is refused with a TypeError if it is detached', async () => {
    await using ends = await pair();
    expect(() => ends.client.writeAll(detached(8))).toThrow(TypeError);
    expect(() => ends.client.write(detached(8))).toThrow(TypeError);
    await ends.client.writeAll('goes on');
    expect((await readExactly(ends.server, 7)).toString()).toBe('goes on');
  });

  it('is sent as it was if it is resizable and changes size meanwhile', async () => {
    await using ends = await pair();
    const data = bytes(12 * MIB, 2);
    const memory = resizable(data.length, data.length);
    new Uint8Array(memory).set(data);
    const sending = ends.client.writeAll(new Uint8Array(memory));
    await inKernel();
    memory.resize(10);
    const ending = ends.client.shutdown();
    expect((await readAll(ends.server)).equals(data)).toBe(true);
    expect(await sending).toBe(data.length);
    await ending;
  });

  it('is sent as it was if it is resizable and waits behind another one', async () => {
    await using ends = await pair();
    const { waiting, size } = await fill(ends.client);
    const memory = resizable(5, 5);
    new Uint8Array(memory).set(Buffer.from('hello'));
    const sending = ends.client.writeAll(new Uint8Array(memory));
    memory.resize(0);
    await readExactly(ends.server, size);
    expect((await readExactly(ends.server, 5)).toString()).toBe('hello');
    expect([await waiting, await sending]).toEqual([size, 5]);
  });

  it('can be shared memory', async () => {
    await using ends = await pair();
    const memory = new SharedArrayBuffer(5);
    new Uint8Array(memory).set(Buffer.from('hello'));
    expect(await ends.client.writeAll(new Uint8Array(memory))).toBe(5);
    expect((await readExactly(ends.server, 5)).toString()).toBe('hello');
  });

  it('can be a chunk that has just arrived', async () => {
    await using there = await pair();
    await using onwards = await pair();
    const data = bytes(3 * MIB, 3);
    const sending = there.client.writeAll(data).then(() => there.client.shutdown());
    const passing = (async () => {
      for await (const chunk of there.server) await onwards.client.writeAll(chunk);
      await onwards.client.shutdown();
    })();
    expect((await readAll(onwards.server)).equals(data)).toBe(true);
    await Promise.all([sending, passing]);
  });

  it('may be forgotten by everybody else, its future too', async () => {
    const { code, stdout, stderr } = await runProgram(
      `
      import { createHash } from 'node:crypto';
      import { TcpListener, TcpStream } from '@ouro/net';
      const listener = await TcpListener.bind({ host: '127.0.0.1' });
      const [server, client] = await Promise.all([
        listener.accept(),
        TcpStream.connect({ host: '127.0.0.1', port: listener.address.port }),
      ]);
      await listener.close();
      const sent = createHash('sha256');
      const received = createHash('sha256');
      for (let i = 0; i < 24; i++) {
        const piece = new Uint8Array(1 << 20).fill(i + 1);
        sent.update(piece);
        client.writeAll(piece);
      }
      client.shutdown().then(() => client.close());
      let litter;
      for await (const chunk of server) {
        received.update(chunk);
        if (Math.random() < 0.1) {
          gc();
          litter = new Uint8Array(1 << 20).fill(255);
        }
      }
      await server.close();
      console.log(sent.digest('hex') === received.digest('hex') ? 'same' : 'different');
    `,
      { flags: ['--expose-gc'] },
    );
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'same\n', stderr: '' });
  });
});

describe('the bytes of a failed op', () => {
  it('are the caller’s again once its future has settled', async () => {
    await using ends = await pair();
    const buffer = Buffer.alloc(8, '.');
    const reading = ends.server.read(buffer);
    await inKernel();
    reading.cancel();
    expect(await failure(reading)).toMatchObject({ code: 'ABORT_ERR' });
    await ends.client.writeAll('hello');
    expect((await readExactly(ends.server, 5)).toString()).toBe('hello');
    expect(buffer.toString()).toBe('........');
  });
});
