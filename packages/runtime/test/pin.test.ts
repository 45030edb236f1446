import { Script } from 'node:vm';
import { metrics } from '@ouro/runtime';
import { addressOf, Bounce, lengthOf, reactor, UNSTABLE } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';

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
