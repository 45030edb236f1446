import { Script } from 'node:vm';
import { BufferPool, metrics } from '@ouro/runtime';
import {
  addressOf,
  Bounce,
  fixedIndexOf,
  lengthOf,
  lent,
  NOT_FIXED,
  reactor,
  UNSTABLE,
} from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';

const native = (): ReturnType<typeof reactor>['addon'] => reactor().addon;

type Resizable = ArrayBuffer & { resize(length: number): void };
/** Node 20 has them, its types do not. */
const resizable = (length: number, maxByteLength: number): Resizable =>
  Reflect.construct(ArrayBuffer, [length, { maxByteLength }]) as Resizable;

describe('the address of memory', () => {
  it('is that of the view, wherever it begins', () => {
    const buffer = new ArrayBuffer(4096);
    const base = native().addressOf(new Uint8Array(buffer));
    expect(addressOf(new Uint8Array(buffer))).toBe(base);
    expect(addressOf(new Uint8Array(buffer, 100, 10))).toBe(base + 100);
    expect(addressOf(new DataView(buffer, 200, 10))).toBe(base + 200);
    expect(addressOf(new Float64Array(buffer, 800, 2))).toBe(base + 800);
  });

  it('is asked for once for each buffer', () => {
    const buffer = new ArrayBuffer(64);
    addressOf(new Uint8Array(buffer));
    const other = new ArrayBuffer(64);
    addressOf(new Uint8Array(other));
    const before = metrics().apiCalls;
    for (let i = 0; i < 100; i++) addressOf(new Uint8Array(i % 2 === 0 ? buffer : other));
    expect(metrics().apiCalls).toBe(before);
  });

  it('of a small typed array is that of memory that does not move', () => {
    const small = new Uint8Array(8);
    const address = addressOf(small);
    expect(native().addressOf(small)).toBe(address);
  });

  it('cannot be taken away any more by a transfer', () => {
    const bytes = new Uint8Array(64);
    addressOf(bytes);
    try {
      structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
    } catch {
      // Newer versions of Node refuse; 20 copies.
    }
    expect(bytes.length).toBe(64);
  });

  it('of resizable memory is not to be had', () => {
    expect(addressOf(new Uint8Array(resizable(64, 128)))).toBe(UNSTABLE);
  });

  it('of shared memory is', () => {
    const bytes = new Uint8Array(new SharedArrayBuffer(64));
    expect(addressOf(bytes)).toBe(native().addressOf(bytes));
  });

  it('of detached memory is a TypeError', () => {
    const bytes = new Uint8Array(64);
    structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
    expect(() => addressOf(bytes)).toThrow(TypeError);
  });

  it('of memory of another realm is nailed down as any other', () => {
    const bytes = new Script('new Uint8Array(64)').runInNewContext() as Uint8Array & { buffer: ArrayBuffer };
    expect(addressOf(bytes)).toBe(native().addressOf(bytes));
    try {
      structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
    } catch {
      // as above
    }
    expect(bytes.length).toBe(64);
  });

  it('is that of the view itself, whatever properties it carries', () => {
    const bytes = new Uint8Array(64);
    const address = addressOf(bytes);
    const lying = Object.defineProperties(bytes, {
      byteOffset: { value: 1 << 20 },
      byteLength: { value: 1 << 30 },
      length: { value: 1 << 30 },
      buffer: { value: new ArrayBuffer(1) },
    });
    expect(addressOf(lying)).toBe(address);
    expect(lengthOf(lying)).toBe(64);
  });

  it('of what is no view is a TypeError', () => {
    for (const value of [
      {},
      { buffer: new ArrayBuffer(8), byteOffset: 0, byteLength: 8 },
      new Proxy(new Uint8Array(8), {}),
    ]) {
      expect(() => addressOf(value as Uint8Array)).toThrow(TypeError);
    }
  });
});

describe('memory that is lent', () => {
  it('is that of the view if it is long, and can be transferred all the same', () => {
    const bytes = new Uint8Array(100_000).fill(7);
    const part = bytes.subarray(10);
    const { address, length, fixed } = lent(part);
    expect([address, length, fixed]).toEqual([native().addressOf(part), 99_990, NOT_FIXED]);
    const moved = structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
    expect([bytes.length, moved.byteLength]).toEqual([0, 100_000]);
    // Still there, under its new owner.
    expect(native().addressOf(new Uint8Array(moved, 10))).toBe(address);
  });

  it.each([
    ['short', new Uint8Array(1000)],
    ['resizable', new Uint8Array(resizable(100_000, 200_000))],
  ])('is a copy if it is %s', (_, bytes) => {
    const { address, length, hold } = lent(bytes.fill(7));
    expect(hold).toBeInstanceOf(Bounce);
    bytes.fill(8);
    expect((hold as Bounce).bytes.equals(Buffer.alloc(length, 7))).toBe(true);
    expect([address, length]).toEqual([(hold as Bounce).address, bytes.length]);
  });

  it('is what it was if it is nailed down already, shared or registered', () => {
    const nailed = new Uint8Array(100);
    expect(lent(nailed).address).not.toBe(addressOf(nailed));
    expect(lent(nailed).address).toBe(addressOf(nailed));
    const shared = new Uint8Array(new SharedArrayBuffer(100));
    expect(lent(shared).address).toBe(native().addressOf(shared));
    using pool = new BufferPool({ count: 1, size: 4096 });
    using lease = pool.lease();
    expect(lent(lease.buffer).fixed).toBe(fixedIndexOf(lease.buffer));
  });

  it('of a detached buffer is a TypeError', () => {
    const bytes = new Uint8Array(100_000);
    structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
    expect(() => lent(bytes)).toThrow(TypeError);
  });
});

describe('a bounce', () => {
  it('copies as much back as there still is room for', () => {
    const buffer = resizable(8, 16);
    const bounce = Bounce.toFill(new Uint8Array(buffer));
    bounce.bytes.fill(7);
    buffer.resize(3);
    expect(bounce.copyBack(8)).toBe(3);
    expect([...new Uint8Array(buffer)]).toEqual([7, 7, 7]);
  });
});

// Node 24 ends the process where it has to take memory away that has been nailed down.
describe('nailing memory down', () => {
  it('lets a thread end that has used the memory of another addon', async () => {
    const { code, stdout, stderr } = await runProgram(
      `
      import { Worker } from 'node:worker_threads';
      const use = \`
        import { parentPort, workerData } from 'node:worker_threads';
        import { addressOf, nop, reactor } from '@ouro/runtime/driver';
        const memory = new Uint8Array(reactor().addon.allocate(65536)); // made as any addon makes memory of its own known
        globalThis.used = [memory, addressOf(memory)];
        await nop();
        parentPort.postMessage(memory.length);
        if (workerData === 'terminate') setInterval(() => {}, 1000);
      \`;
      for (const workerData of ['end', 'terminate']) {
        const worker = new Worker(use, { eval: true, workerData });
        const ended = new Promise((done) => worker.once('exit', done));
        console.log(await new Promise((done) => worker.once('message', done)));
        if (workerData === 'terminate') worker.terminate();
        await ended;
      }
      `,
    );
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: '65536\n65536\n', stderr: '' });
  });

  it('lets the memory of a WebAssembly module grow', async () => {
    const { code, stdout, stderr } = await runProgram(`
      import { addressOf } from '@ouro/runtime/driver';
      for (const limits of [{ initial: 1, maximum: 4 }, { initial: 1 }, { initial: 0, maximum: 4 }]) {
        const memory = new WebAssembly.Memory(limits);
        const view = new Uint8Array(memory.buffer);
        addressOf(view);
        const before = memory.buffer.byteLength;
        memory.grow(2);
        console.log(view.length, memory.buffer.byteLength - before);
      }
      const plain = new Uint8Array(65536 * 3);
      addressOf(plain);
      try {
        structuredClone(plain.buffer, { transfer: [plain.buffer] });
      } catch {}
      console.log(plain.length);
    `);
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: '0 131072\n0 131072\n0 131072\n196608\n',
      stderr: '',
    });
  });
});
