import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { MessageChannel } from 'node:worker_threads';
import { File, readFile, writeFile } from '@ouro/fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { begun, fifo, submitted, temporaryDirectory, thrown } from './support.ts';

const dir = temporaryDirectory();
const path = join(dir, 'file');
const CONTENT = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
writeFileSync(path, CONTENT);

// What the library declarations that we compile with do not have.
type Resizable = ArrayBuffer & { resize(length: number): void };
const resizable = (length: number, maxByteLength: number): Resizable =>
  Reflect.construct(ArrayBuffer, [length, { maxByteLength }]) as Resizable;
const growable = (
  length: number,
  maxByteLength: number,
): SharedArrayBuffer & { grow(length: number): void } =>
  Reflect.construct(SharedArrayBuffer, [length, { maxByteLength }]);

declare const WebAssembly: {
  Memory: new (limits: { initial: number }) => { readonly buffer: ArrayBuffer; grow(pages: number): number };
};

/** Tries to move memory to somebody else, and says what that has brought: Node 20 copies what is marked, later versions refuse. */
function transfer(memory: ArrayBuffer): ArrayBuffer | undefined {
  try {
    return structuredClone(memory, { transfer: [memory] });
  } catch {
    return undefined;
  }
}

/** What a transfer leaves behind: no bytes. */
function detached(length: number): Buffer {
  const buffer = Buffer.alloc(length, 1);
  structuredClone(buffer.buffer, { transfer: [buffer.buffer] });
  return buffer;
}

/** A pipe and its two ends: ops on it are in flight until the other end does something. */
let pipe: File;
let peer: number;
beforeAll(async () => {
  const name = fifo(join(dir, 'fifo'));
  pipe = await File.open(name, 'r+');
  peer = openSync(name, 'r+');
});
afterAll(async () => {
  closeSync(peer);
  await pipe.close();
});

const views: readonly (readonly [string, ArrayBufferView])[] = [
  ['a Buffer', Buffer.alloc(24)],
  ['a Buffer of the pool', Buffer.from('x'.repeat(24))],
  ['a part of a Buffer', Buffer.alloc(100).subarray(7, 31)],
  ['a Uint8Array', new Uint8Array(24)],
  ['a small typed array, which V8 keeps on its own heap', new Uint8Array(64).subarray(0, 24)],
  ['a Uint16Array', new Uint16Array(12)],
  ['a Uint16Array in the middle of its buffer', new Uint16Array(new ArrayBuffer(64), 6, 12)],
  ['a Float64Array in the middle of its buffer', new Float64Array(new ArrayBuffer(64), 16, 3)],
  ['a BigInt64Array', new BigInt64Array(3)],
  ['a DataView', new DataView(new ArrayBuffer(24))],
  ['a DataView in the middle of its buffer', new DataView(new ArrayBuffer(64), 5, 24)],
  ['a SharedArrayBuffer', new Uint8Array(new SharedArrayBuffer(64), 8, 24)],
  ['a growable SharedArrayBuffer', new Uint8Array(growable(64, 128), 8, 24)],
  ['a WebAssembly memory', new Uint8Array(new WebAssembly.Memory({ initial: 1 }).buffer, 1000, 24)],
  ['a resizable buffer', new Uint8Array(resizable(64, 128), 8, 24)],
  ['all of a resizable buffer', new Uint8Array(resizable(24, 128))],
];

/** All bytes of the memory below a view. */
const whole = ({ buffer }: ArrayBufferView): Buffer => Buffer.from(buffer);

describe('read fills exactly the bytes of', () => {
  it.each(views)('%s', async (_, view) => {
    const { byteOffset, byteLength } = view;
    const expected = Buffer.from(whole(view));
    CONTENT.copy(expected, byteOffset, 100, 100 + byteLength);
    await using file = await File.open(path);
    expect(await file.read(view, 100)).toBe(byteLength);
    expect(whole(view).equals(expected)).toBe(true);
  });
});

describe('write takes exactly the bytes of', () => {
  it.each(views)('%s', async (_, view) => {
    const { buffer, byteOffset, byteLength } = view;
    const bytes = new Uint8Array(buffer, byteOffset, byteLength);
    bytes.set(CONTENT.subarray(0, byteLength));
    const written = join(dir, 'written');
    await using file = await File.create(written);
    expect(await file.write(view)).toBe(byteLength);
    expect(readFileSync(written).equals(CONTENT.subarray(0, byteLength))).toBe(true);
  });
});

describe('while a read is in flight', () => {
  it('transferring its buffer copies it or is refused, and the read goes where it was to go', async () => {
    const buffer = Buffer.alloc(64, '.');
    const reading = pipe.read(buffer);
    const copy = transfer(buffer.buffer);
    await submitted();
    const second = transfer(buffer.buffer);
    expect(buffer.length).toBe(64);
    writeSync(peer, 'arrived');
    expect(await reading).toBe(7);
    expect(buffer.toString('utf8', 0, 9)).toBe('arrived..');
    for (const clone of [copy, second])
      if (clone !== undefined) expect(Buffer.from(clone)).toEqual(Buffer.alloc(64, '.'));
  });

  it('posting its buffer to another thread copies it or is refused', async () => {
    const { port1, port2 } = new MessageChannel();
    const buffer = new Uint8Array(64);
    const reading = pipe.read(buffer);
    await submitted();
    const received = new Promise<Uint8Array>((resolve) => port2.once('message', resolve));
    try {
      port1.postMessage(buffer, [buffer.buffer]);
    } catch {
      port1.postMessage(buffer); // refused
    }
    expect(buffer.length).toBe(64);
    writeSync(peer, 'arrived');
    expect([await reading, Buffer.from(buffer).toString('utf8', 0, 7)]).toEqual([7, 'arrived']);
    expect(await received).toEqual(new Uint8Array(64));
    port1.close();
  });

  it('transferring a part of its memory is no different', async () => {
    const memory = new ArrayBuffer(64);
    const reading = pipe.read(new Uint8Array(memory, 32, 8));
    await submitted();
    transfer(memory);
    writeSync(peer, 'arrived');
    expect([await reading, Buffer.from(memory).toString('utf8', 32, 39)]).toEqual([7, 'arrived']);
  });

  it('a resizable buffer may shrink: what no longer has a place is dropped', async () => {
    const memory = resizable(64, 128);
    const reading = pipe.read(new Uint8Array(memory));
    await submitted();
    memory.resize(4);
    writeSync(peer, 'arrived');
    expect(await reading).toBe(4);
    expect(Buffer.from(memory).toString()).toBe('arri');
  });

  it('a resizable buffer may shrink until the view has no place at all', async () => {
    const memory = resizable(64, 128);
    const reading = pipe.read(new Uint8Array(memory, 8, 24));
    await submitted();
    memory.resize(0);
    writeSync(peer, 'arrived');
    expect(await reading).toBe(0);
  });

  it('a resizable buffer may grow', async () => {
    const memory = resizable(16, 1 << 20);
    const reading = pipe.read(new Uint8Array(memory));
    await submitted();
    memory.resize(1 << 20);
    writeSync(peer, 'arrived');
    expect([await reading, Buffer.from(memory).toString('utf8', 0, 7)]).toEqual([7, 'arrived']);
  });

  it('a growable SharedArrayBuffer may grow', async () => {
    const memory = growable(16, 1 << 20);
    const reading = pipe.read(new Uint8Array(memory));
    await submitted();
    memory.grow(1 << 20);
    writeSync(peer, 'arrived');
    expect([await reading, Buffer.from(memory).toString('utf8', 0, 7)]).toEqual([7, 'arrived']);
  });

  it('a WebAssembly memory may grow, which detaches all views of it', async () => {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const reading = pipe.read(new Uint8Array(memory.buffer, 1000, 64));
    await submitted();
    memory.grow(100);
    writeSync(peer, 'arrived');
    expect(await reading).toBe(7);
    expect(Buffer.from(memory.buffer).toString('utf8', 1000, 1007)).toBe('arrived');
  });

  it('another part of the same memory can be used', async () => {
    const memory = Buffer.alloc(24, '.');
    const reading = pipe.read(memory.subarray(0, 8));
    memory.write('mine', 16);
    await submitted();
    writeSync(peer, 'arrived');
    expect(await reading).toBe(7);
    expect(memory.toString()).toBe('arrived.........mine....');
  });
});

describe('while a write is in flight', () => {
  /** More than a pipe holds, so that most of it is still to be written when the memory changes. */
  const size = 1 << 18;
  const data = Buffer.alloc(size);
  for (let at = 0; at < size; at += 4) data.writeUInt32LE(at * 3, at);

  async function drained(): Promise<Buffer> {
    const all = Buffer.alloc(size);
    for (let length = 0; length < size; ) length += await pipe.read(all.subarray(length));
    return all;
  }

  it('transferring its buffer copies it or is refused, and all bytes are written', async () => {
    const memory = new Uint8Array(data);
    const writing = pipe.write(memory);
    await submitted();
    transfer(memory.buffer);
    expect((await drained()).equals(data)).toBe(true);
    expect(await writing).toBe(size);
  });

  it('a resizable buffer may shrink: it is written as it was', async () => {
    const memory = resizable(size, size);
    new Uint8Array(memory).set(data);
    const writing = pipe.write(new Uint8Array(memory));
    await submitted();
    memory.resize(0);
    expect((await drained()).equals(data)).toBe(true);
    expect(await writing).toBe(size);
  });

  it('a WebAssembly memory may grow', async () => {
    const memory = new WebAssembly.Memory({ initial: 4 });
    new Uint8Array(memory.buffer).set(data);
    const writing = pipe.write(new Uint8Array(memory.buffer, 0, size));
    await submitted();
    memory.grow(100);
    expect((await drained()).equals(data)).toBe(true);
    expect(await writing).toBe(size);
  });
});

describe('a detached buffer', () => {
  it.each([
    ['Buffer', () => detached(8)],
    ['Float64Array', () => new Float64Array(1)],
    ['DataView', () => new DataView(new ArrayBuffer(8))],
    ['Uint8Array that an op used before', () => new Uint8Array(8)],
  ] as const)('(%s) is a TypeError, before anything is submitted', async (name, make) => {
    const view: ArrayBufferView = make();
    if (name !== 'Buffer') structuredClone(view.buffer, { transfer: [view.buffer as ArrayBuffer] });
    await using file = await File.open(path, 'r+');
    if (name.includes('before')) {
      // The memory of an op stays marked, so only growing a WebAssembly memory still detaches what was used.
      const memory = new WebAssembly.Memory({ initial: 1 });
      const used = new Uint8Array(memory.buffer, 0, 8);
      await file.read(used, 0);
      memory.grow(1);
      expect(thrown(() => file.read(used)).name).toBe('TypeError');
    }
    const before = begun();
    expect(thrown(() => file.read(view)).name).toBe('TypeError');
    expect(thrown(() => file.write(view)).name).toBe('TypeError');
    expect(thrown(() => readFile(path, { buffer: view })).name).toBe('TypeError');
    expect(thrown(() => writeFile(path, view)).name).toBe('TypeError');
    expect(begun()).toBe(before);
    expect(readFileSync(path).equals(CONTENT)).toBe(true);
  });

  it('is not what transferring leaves of a buffer that writeFile is about to write', async () => {
    const written = join(dir, 'kept');
    writeFileSync(written, 'what was there');
    const memory = new Uint8Array(Buffer.from('what is to be there'));
    const writing = writeFile(written, memory);
    transfer(memory.buffer);
    await writing;
    expect(readFileSync(written, 'utf8')).toBe('what is to be there');
  });

  it('is not what growing leaves of a WebAssembly memory that writeFile is about to write', async () => {
    const written = join(dir, 'grown');
    const memory = new WebAssembly.Memory({ initial: 1 });
    Buffer.from(memory.buffer).write('what is to be there');
    const writing = writeFile(written, new Uint8Array(memory.buffer, 0, 19));
    memory.grow(1);
    await writing;
    expect(readFileSync(written, 'utf8')).toBe('what is to be there');
  });

  it('is not what transferring leaves of a buffer that readFile is about to fill', async () => {
    const memory = new Uint8Array(256);
    const reading = readFile(path, { buffer: memory });
    transfer(memory.buffer);
    expect((await reading).equals(CONTENT)).toBe(true);
    expect(memory).toEqual(new Uint8Array(CONTENT));
  });

  it('is a TypeError of readFile if it happens on the way', async () => {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const reading = readFile(path, { buffer: new Uint8Array(memory.buffer) });
    memory.grow(1);
    await expect(reading).rejects.toMatchObject({ name: 'TypeError', code: 'ERR_INVALID_STATE' });
  });
});

describe('memory that nobody refers to any more', () => {
  const program = (body: string): string => `
    import { openSync, writeSync } from 'node:fs';
    import { File } from '@ouro/fs';
    import { nop } from '@ouro/runtime/driver';
    const pipe = await File.open(process.argv[1], 'r+');
    const peer = openSync(process.argv[1], 'r+');
    /** Collects garbage and takes the memory that has become free, so that a late write would be seen. */
    const taken = [];
    async function collect(size) {
      for (let i = 0; i < 20; i++) {
        gc();
        await nop();
        taken.push(Buffer.from(new ArrayBuffer(size)).fill(0x55));
      }
    }
    const untouched = () => taken.every((buffer) => buffer.equals(Buffer.alloc(buffer.length, 0x55)));
    ${body}
    await pipe.close();
  `;
  const run = async (name: string, body: string): Promise<string> => {
    const args = [fifo(join(dir, name))];
    const { stdout, stderr, signal } = await runProgram(program(body), { flags: ['--expose-gc'], args });
    expect({ stderr, signal }).toEqual({ stderr: '', signal: null });
    return stdout.trim();
  };

  it.each([64, 4096, 65_536, 1 << 21])(
    'is not collected while a read of %i bytes is in flight',
    async (size) => {
      const body = `
      const reading = pipe.read(new Uint8Array(${size}));
      await nop();
      await collect(${size});
      writeSync(peer, Buffer.alloc(${Math.min(size, 60_000)}, 0xaa));
      console.log(await reading, untouched());`;
      expect(await run(`read-${size}`, body)).toBe(`${Math.min(size, 60_000)} true`);
    },
  );

  it('is not collected while the future is forgotten too', async () => {
    const body = `
      const count = await new Promise((resolve) => {
        pipe.read(Buffer.alloc(65536)).then(resolve);
        nop().then(() => collect(65536)).then(() => writeSync(peer, Buffer.alloc(60000, 0xaa)));
      });
      console.log(count, untouched());`;
    expect(await run('forgotten', body)).toBe('60000 true');
  });

  it('is filled where it lies after the heap was compacted', async () => {
    const body = `
      const view = new Uint8Array(64);
      const reading = pipe.read(view);
      await nop();
      await collect(64);
      writeSync(peer, 'arrived');
      await reading;
      console.log(Buffer.from(view.subarray(0, 7)).toString(), untouched());`;
    expect(await run('compacted', body)).toBe('arrived true');
  });

  it('is written as it was', async () => {
    const body = `
      const writing = pipe.write(Buffer.from(new ArrayBuffer(1 << 20)).fill(0xaa));
      await nop();
      await collect(1 << 20);
      // By a thread of Node's: the poll engine writes the rest in turns of this one.
      const { promisify } = await import('node:util');
      const { read } = await import('node:fs');
      const all = Buffer.alloc(1 << 20);
      for (let length = 0; length < all.length; ) {
        length += (await promisify(read)(peer, all, length, Math.min(65536, all.length - length), null)).bytesRead;
      }
      console.log(await writing, all.equals(Buffer.alloc(1 << 20, 0xaa)));`;
    expect(await run('to-write', body)).toBe(`${1 << 20} true`);
  });

  it('may be a WebAssembly memory that has grown', async () => {
    const body = `
      const reading = (() => {
        const memory = new WebAssembly.Memory({ initial: 1 });
        const reading = pipe.read(new Uint8Array(memory.buffer));
        memory.grow(1);
        return reading;
      })();
      await nop();
      await collect(65536);
      writeSync(peer, Buffer.alloc(60000, 0xaa));
      console.log(await reading, untouched());`;
    expect(await run('wasm', body)).toBe('60000 true');
  });
});
