import { join } from 'node:path';
import { File } from '@ouro/fs';
import { describe, expect, it } from 'vitest';
import { itOnRing } from '../../../testing/engine.ts';
import { runProgram } from '../../../testing/program.ts';
import { fifo, openDescriptors, submitted, temporaryDirectory } from './support.ts';

// What the kernel is about to write to stays where it is, whatever becomes of the loop, its file and its thread.

const dir = temporaryDirectory();

const prelude = `
  import { openSync, readdirSync, writeFileSync, writeSync } from 'node:fs';
  import { Worker } from 'node:worker_threads';
  import { File } from '@ouro/fs';
  import { nop } from '@ouro/runtime/driver';
  const pipe = process.argv[1];
  await nop(); // the engine has descriptors of its own,
  process.stdout; // and so has this
  const descriptors = () => readdirSync('/proc/self/fd').length;
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
`;

async function run(name: string, body: string): Promise<string> {
  const { stdout, stderr, signal } = await runProgram(prelude + body, {
    flags: ['--expose-gc'],
    args: [fifo(join(dir, name))],
  });
  expect({ stderr, signal }).toEqual({ stderr: '', signal: null });
  return stdout.trim();
}

describe('memory of a read in flight', () => {
  it.each(['chunks', 'batches', 'lines', 'readable'])('outlives a forgotten loop over %s', async (way) => {
    const body = `
      const file = File.fromFd(openSync(pipe, 'r+'));
      const peer = openSync(pipe, 'r+');
      (() => {
        const loop = file.${way}({ ${way === 'readable' ? 'chunkSize' : 'size'}: 65536 });
        ${way === 'readable' ? 'loop.getReader().read()' : 'loop.next()'};
      })();
      await nop();
      await collect(65536);
      writeSync(peer, Buffer.alloc(60000, 0xaa));
      await nop();
      await nop();
      console.log(untouched());
      await file.close();`;
    expect(await run(`forgotten-${way}`, body)).toBe('true');
  });

  it('outlives the file of the loop, which is not collected before', async () => {
    const body = `
      const peer = openSync(pipe, 'r+');
      const before = descriptors();
      const chunk = (await File.open(pipe, 'r+')).chunks({ size: 65536 }).next();
      await collect(65536);
      const during = descriptors();
      writeSync(peer, Buffer.alloc(60000, 0xaa));
      console.log((await chunk).value.length, during - before, untouched());`;
    expect(await run('collected-file', body)).toBe('60000 1 true');
  });

  it('is not that of a chunk handed out: those can be transferred while others are filled', async () => {
    const body = `
      const path = pipe + '-file';
      writeFileSync(path, Buffer.alloc(1 << 20, 0xaa));
      const file = await File.open(path);
      const moved = [];
      let length = 0;
      for await (const chunk of file.chunks({ size: 10_000, ahead: 16 })) {
        length += chunk.length;
        moved.push(structuredClone(chunk.buffer, { transfer: [chunk.buffer] }));
      }
      await collect(10_000);
      console.log(length, moved.every((each) => Buffer.from(each).equals(Buffer.alloc(each.byteLength, 0xaa))), untouched());
      await file.close();`;
    expect(await run('transferred', body)).toBe('1048576 true true');
  });

  it('of leases cannot be taken away by a transfer', async () => {
    const body = `
      const path = pipe + '-file';
      writeFileSync(path, Buffer.alloc(1 << 20, 0xaa));
      const file = await File.open(path);
      let length = 0;
      let right = true;
      for await (const lease of file.chunks({ size: 10_000, ahead: 8, lease: true })) {
        try {
          structuredClone(lease.buffer.buffer, { transfer: [lease.buffer.buffer] });
        } catch {
          // Node 22 and newer
        }
        length += lease.buffer.length;
        right &&= lease.buffer.equals(Buffer.alloc(lease.buffer.length, 0xaa));
        lease.release();
      }
      console.log(length, right);
      await file.close();`;
    expect(await run('leases', body)).toBe('1048576 true');
  });
});

describe('memory of a chunk that a stream is writing', () => {
  const written = (make: string): string => `
    const { read } = await import('node:fs');
    const { promisify } = await import('node:util');
    const file = await File.open(pipe, 'r+');
    const peer = openSync(pipe, 'r+');
    const writer = file.writable().getWriter();
    await nop(); // from here on it begins at once to write
    ${make}
    await nop();
    await collect(200_000);
    const all = Buffer.alloc(200_000);
    for (let length = 0; length < all.length; ) {
      length += (await promisify(read)(peer, all, length, all.length - length, null)).bytesRead;
    }
    await writing;
    console.log(all.equals(Buffer.alloc(200_000, 7)), untouched());
    await file.close();`;

  it('outlives its transfer and collection', async () => {
    const make = `
      const writing = (() => {
        const chunk = new Uint8Array(200_000).fill(7);
        const writing = writer.write(chunk);
        structuredClone(chunk.buffer, { transfer: [chunk.buffer] });
        return writing;
      })();`;
    expect(await run('lent', written(make))).toBe('true true');
  });

  it('outlives a WebAssembly memory that grows', async () => {
    const make = `
      const writing = (() => {
        const memory = new WebAssembly.Memory({ initial: 4 });
        const writing = writer.write(new Uint8Array(memory.buffer, 8, 200_000).fill(7));
        memory.grow(4);
        return writing;
      })();`;
    expect(await run('lent-wasm', written(make))).toBe('true true');
  });

  it('is a copy of a resizable buffer', async () => {
    const make = `
      const memory = new ArrayBuffer(200_000, { maxByteLength: 400_000 });
      const writing = writer.write(new Uint8Array(memory).fill(7));
      await null;
      memory.resize(0);`;
    expect(await run('lent-resizable', written(make))).toBe('true true');
  });
});

describe('a worker that is terminated', () => {
  const worker = (loop: string): string => `
    const code = \`
      import { parentPort, workerData } from 'node:worker_threads';
      import { File } from '@ouro/fs';
      const file = await File.open(workerData, 'r+');
      parentPort.postMessage('begun');
      ${loop}
    \`;
    const peer = openSync(pipe, 'r+');
    const before = descriptors();
    for (let round = 0; round < 10; round++) {
      const worker = new Worker(code, { eval: true, workerData: process.argv[2] ?? pipe, execArgv: ['--input-type=module'] });
      await new Promise((resolve) => worker.once('message', resolve));
      if (round % 2 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      await worker.terminate();
    }
    await collect(65536);
    writeSync(peer, Buffer.alloc(60000, 0xaa));
    console.log(descriptors() - before, untouched());`;

  it.each([
    ['a loop that waits', 'for await (const chunk of file.chunks({ size: 65536 }));'],
    ['lines that wait', 'for await (const line of file.lines());'],
    ['a stream that waits', 'await file.readable().getReader().read();'],
    [
      'a reader with memory of its own',
      "await file.readable().getReader({ mode: 'byob' }).read(new Uint8Array(65536));",
    ],
  ])('with %s leaves no descriptor and writes to no memory', async (name, loop) => {
    expect(await run(`worker-${name.replaceAll(' ', '-')}`, worker(loop))).toBe('0 true');
  });

  it('with reads ahead in flight leaves nothing either', async () => {
    const body = `
      const path = pipe + '-file';
      writeFileSync(path, Buffer.alloc(8 << 20, 0xaa));
      const code = \`
        import { parentPort, workerData } from 'node:worker_threads';
        import { File } from '@ouro/fs';
        const file = await File.open(workerData);
        parentPort.postMessage('begun');
        for (;;) for await (const chunk of file.chunks({ start: 0, size: 100_000, ahead: 16, lease: Math.random() < 0.5 })) chunk.release?.();
      \`;
      const before = descriptors();
      for (let round = 0; round < 10; round++) {
        const worker = new Worker(code, { eval: true, workerData: path, execArgv: ['--input-type=module'] });
        await new Promise((resolve) => worker.once('message', resolve));
        await new Promise((resolve) => setTimeout(resolve, round));
        await worker.terminate();
      }
      await collect(100_000);
      console.log(descriptors() - before, untouched());`;
    expect(await run('worker-ahead', body)).toBe('0 true');
  });
});

describe('a process', () => {
  it.each(['chunks', 'batches', 'lines'])('may exit in the middle of %s', async (way) => {
    const body = `
      const path = pipe + '-file';
      writeFileSync(path, Buffer.alloc(8 << 20, 'line\\n'));
      for await (const _ of (await File.open(path)).${way}({ size: 1000, ahead: ${way === 'lines' ? 'undefined' : '64'} })) {
        console.log('out');
        process.exit(0);
      }`;
    expect(await run(`exit-${way}`, body)).toBe('out');
  });

  it('does not wait for a loop of a file that is unref’d', async () => {
    const body = `
      const file = await File.open(pipe, 'r+');
      file.unref();
      file.chunks().next().then(() => console.log('never'));
      file.lines().next().then(() => console.log('never'));
      await nop();
      console.log('out');`;
    expect(await run('unref', body)).toBe('out');
  });

  it('waits for a loop that is under way, and not for one that has been left', async () => {
    const body = `
      const file = await File.open(pipe, 'r+');
      const loop = file.chunks();
      const first = loop.next();
      file.unref().ref();
      setTimeout(() => writeSync(file.fd, 'x'), 20).unref();
      console.log((await first).value.toString());
      loop.next();
      await loop.return();
      console.log('out');`;
    expect(await run('ref', body)).toBe('x\nout');
  });
});

describe('a kernel without READ', () => {
  const body = `
    import { File } from '@ouro/fs';
    const file = await File.open('package.json');
    const found = [];
    try {
      for await (const chunk of file) found.push(chunk.toString());
      for await (const lease of file.chunks({ start: 0, lease: true })) found.push(lease.copy().toString());
      console.log(found.every((each) => each.startsWith('{')), found.length);
    } catch (error) {
      console.log(error.code, error.syscall);
    }
    await file.close();`;

  const on = async (OURO_DRIVER: string, OURO_WITHOUT: string): Promise<string> => {
    const { stdout, stderr } = await runProgram(body, { env: { OURO_DRIVER, OURO_WITHOUT } });
    expect(stderr).toBe('');
    return stdout.trim();
  };

  itOnRing('setup')('has the poll engine read beside the ring, or refuses', async () => {
    expect(await on('fusion', 'READ,READ_FIXED')).toBe('true 2');
    expect(await on('uring', 'READ,READ_FIXED')).toBe('ERR_OURO_UNSUPPORTED read');
  });

  it('or only without READ_FIXED does with what it has', async () => {
    expect(await on(process.env.OURO_DRIVER ?? 'fusion', 'READ_FIXED')).toBe('true 2');
  });
});

describe('an engine that reads', () => {
  it('leaves no descriptor when a loop is left in every way', async () => {
    const name = fifo(join(dir, 'ways'));
    await submitted();
    const before = openDescriptors();
    for (let round = 0; round < 30; round++) {
      const file = await File.open(name, 'r+');
      const loop = file.chunks();
      const waiting = loop.next().catch(() => {});
      if (round % 3 === 0) file.cancel();
      if (round % 3 === 1) await loop.return?.();
      if (round % 2 === 0) await submitted();
      await file.close();
      await waiting;
    }
    expect(openDescriptors()).toBe(before);
  });
});
