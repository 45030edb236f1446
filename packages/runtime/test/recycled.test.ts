import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
import { addon } from '@ouro/native';
import { addressOf, allocateRecycled, UNSTABLE } from '@ouro/runtime/driver';
import { afterEach, describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';

const SIZE = 65_536;
/** Where memory cannot be owned by two it is not used again either (Node 22). */
const RECYCLES = addressOf(new Uint8Array(8)) !== UNSTABLE;

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

const addressNow = (buffer: Buffer): number => addon().addressOf(buffer);

/** Lets V8 collect what nobody has, and free it: that is done by threads of its own. */
async function collected(): Promise<void> {
  for (let i = 0; i < 4; i++) {
    await new Promise(setImmediate);
    gc();
  }
}

/** Memory of so many bytes of which nobody has anything, and where it is. */
async function dropped(count: number, size = SIZE): Promise<Set<number>> {
  const addresses = new Set<number>();
  for (let i = 0; i < count; i++) addresses.add(addressNow(allocateRecycled(size)));
  await collected();
  return addresses;
}

/** What gives Node 20 `ArrayBuffer.prototype.transfer`, which later versions have. */
const TRANSFER =
  typeof (ArrayBuffer.prototype as { transfer?: unknown }).transfer === 'function'
    ? []
    : ['--harmony-rab-gsab-transfer'];

describe('memory that has been transferred to another length', () => {
  it('is not taken for what it was', async () => {
    const { code, stdout, stderr } = await runProgram(
      `
        import { allocateRecycled } from '@ouro/runtime/driver';
        const lengths = new Set();
        for (const length of [32768, 131072, 1000]) {
          for (let i = 0; i < 10; i++) allocateRecycled(65536).buffer.transfer(length);
          for (let i = 0; i < 4; i++) {
            await new Promise(setImmediate);
            gc();
          }
          const all = Array.from({ length: 30 }, () => allocateRecycled(65536));
          for (const { length } of all) lengths.add(length);
        }
        console.log(...lengths);
      `,
      { flags: ['--expose-gc', ...TRANSFER], limitMs: 100_000 },
    );
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: '65536\n', stderr: '' });
  }, 110_000);

  it('is not what the kernel has: where V8 has malloc move it, that gets memory of our own', async () => {
    const { code, stdout, stderr } = await runProgram(
      `
        import { addressOf, Bounce, hold, lent, pinned, UNSTABLE } from '@ouro/runtime/driver';
        const bytes = new Uint8Array(new ArrayBuffer(65536)).fill(7);
        const moves = process.versions.v8.startsWith('11.') || process.versions.v8.startsWith('12.');
        const isOurs = ({ hold }) => hold instanceof Bounce;
        console.log(
          (hold(bytes) === undefined) === moves,
          isOurs(lent(bytes)) === moves,
          isOurs(pinned(bytes)) === moves,
          (addressOf(bytes) === UNSTABLE) === moves,
        );
      `,
      { flags: TRANSFER, limitMs: 100_000 },
    );
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'true true true true\n', stderr: '' });
  }, 110_000);
});

describe.runIf(RECYCLES)('memory that is used again', () => {
  afterEach(() => {
    addon().trimRecycled();
    addon().trimRecycled();
  });

  it('is what somebody has dropped', async () => {
    const addresses = await dropped(4);
    const again = Array.from({ length: 4 }, () => allocateRecycled(SIZE));
    expect(new Set(again.map(addressNow))).toEqual(addresses);
    for (const buffer of again)
      expect([buffer.length, buffer.byteOffset, buffer.buffer.byteLength]).toEqual([SIZE, 0, SIZE]);
  });

  it('is of that length only', async () => {
    const addresses = await dropped(2);
    expect(addresses.has(addressNow(allocateRecycled(2 * SIZE)))).toBe(false);
    for (const length of [SIZE - 1, 4096, 2 << 20]) expect(allocateRecycled(length)).toHaveLength(length);
    expect(addresses.has(addressNow(allocateRecycled(SIZE)))).toBe(true);
  });

  it.each([
    ['a part of it', (buffer: Buffer) => buffer.subarray(10, 11)],
    ['its ArrayBuffer', (buffer: Buffer) => buffer.buffer],
    [
      'what has been transferred',
      (buffer: Buffer) => structuredClone(buffer.buffer, { transfer: [buffer.buffer as ArrayBuffer] }),
    ],
    [
      'a message on its way',
      (buffer: Buffer) => {
        const { port1, port2 } = new MessageChannel();
        port1.postMessage(buffer, [buffer.buffer as ArrayBuffer]);
        return { port1, port2 };
      },
    ],
    ['what keeps it for the kernel', (buffer: Buffer) => addon().hold(buffer)],
  ])('is not used while somebody has %s', async (_, take) => {
    let address = 0;
    const keep = (() => {
      const buffer = allocateRecycled(SIZE);
      address = addressNow(buffer);
      buffer.fill('mine');
      return take(buffer);
    })();
    await collected();
    const others = Array.from({ length: 20 }, () => allocateRecycled(SIZE));
    expect(others.map(addressNow)).not.toContain(address);
    if ('port2' in (keep as object)) {
      const { port1, port2 } = keep as MessageChannel;
      const got = (receiveMessageOnPort(port2) as { message: Uint8Array }).message;
      expect(Buffer.from(got.buffer).toString('latin1', 0, 4)).toBe('mine');
      port1.close();
    }
  });

  it('is given back when nobody has asked for it twice', async () => {
    // Where no timer does so meanwhile.
    const { code, stdout, stderr } = await runProgram(
      `
        import { addon } from '@ouro/native';
        for (let i = 0; i < 8; i++) addon().addRecycled(new ArrayBuffer(65536));
        for (let i = 0; i < 4; i++) {
          await new Promise(setImmediate);
          gc();
        }
        const left = [addon().trimRecycled() / 65536];
        addon().takeRecycled(65536);
        left.push(addon().trimRecycled() / 65536, addon().trimRecycled());
        console.log(...left);
      `,
      { flags: ['--expose-gc'], limitMs: 100_000 },
    );
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: '8 1 0\n', stderr: '' });
  }, 110_000);

  it('is no more than 64 MiB', async () => {
    const kept = Array.from({ length: 100 }, () => allocateRecycled(1 << 20));
    expect(addon().trimRecycled()).toBe(64 << 20);
    expect(kept.every((buffer, i) => buffer.fill(i)[buffer.length - 1] === i)).toBe(true);
  });

  it('keeps nothing else of whoever has asked for it', async () => {
    const { code, stdout, stderr } = await runProgram(
      `
        import { AsyncLocalStorage } from 'node:async_hooks';
        import { allocateRecycled } from '@ouro/runtime/driver';
        const storage = new AsyncLocalStorage();
        const store = (() => {
          const store = { of: 'a request' };
          storage.run(store, () => allocateRecycled(65536));
          return new WeakRef(store);
        })();
        for (let i = 0; i < 20 && store.deref() !== undefined; i++) {
          await new Promise(setImmediate);
          gc();
        }
        console.log(store.deref());
      `,
      { flags: ['--expose-gc'], limitMs: 100_000 },
    );
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'undefined\n', stderr: '' });
  }, 110_000);

  it('keeps no process alive, and goes with its thread', async () => {
    const { code, stdout, stderr } = await runProgram(
      `
        import { once } from 'node:events';
        import { Worker } from 'node:worker_threads';
        const source = \`
          import { parentPort } from 'node:worker_threads';
          import { allocateRecycled } from \${JSON.stringify(import.meta.resolve('@ouro/runtime/driver'))};
          const sent = allocateRecycled(65536).fill('sent');
          for (let i = 0; i < 200; i++) allocateRecycled(65536).fill(i);
          gc();
          for (let i = 0; i < 200; i++) allocateRecycled(65536).fill(i);
          parentPort.postMessage(sent, [sent.buffer]);
        \`;
        const url = new URL('data:text/javascript,' + encodeURIComponent(source));
        for (let i = 0; i < 8; i++) {
          const worker = new Worker(url);
          const ended = once(worker, 'exit');
          const [got] = await once(worker, 'message');
          if (i % 2 === 0) await worker.terminate();
          await ended;
          gc();
          if (Buffer.from(got).toString('latin1') !== 'sent'.repeat(16384)) throw new Error('overwritten');
        }
        console.log('done');
      `,
      { flags: ['--expose-gc'], limitMs: 100_000 },
    );
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'done\n', stderr: '' });
  }, 110_000);
});
