import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { runCommand } from '../../../testing/program.ts';
import { HOOK, PRELUDE, temporaryDirectory, told } from './support.ts';

// Each test starts a program or two, which takes seconds on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

const directory = temporaryDirectory();
const text = join(directory, 'text');
writeFileSync(text, 'some text');
const other = join(directory, 'other');
writeFileSync(other, 'something else, longer');
const names = `const text = ${JSON.stringify(text)}; const other = ${JSON.stringify(other)};
  const directory = ${JSON.stringify(directory)};`;
const program = (body: string) => told(`${PRELUDE} ${names} ${body}`);

describe('the memory of a buffer', () => {
  it('can be transferred to another thread before, while and after it is read into', async () => {
    const result = await program(`
      const fd = fs.openSync(text);
      const before = structuredClone(new ArrayBuffer(9), {});
      const results = [];
      const buffer = Buffer.from(new ArrayBuffer(9));
      results.push((await called(fs.read, fd, buffer, 0, 9, 0))[0], buffer.toString());
      const reading = called(fs.read, fd, buffer, 0, 9, 0);
      const moved = structuredClone(buffer.buffer, { transfer: [buffer.buffer] });
      results.push(buffer.length, moved.byteLength, (await reading)[0], Buffer.from(moved).toString());
      results.push(since('read'));
      tell(results);`);
    expect(result).toEqual([9, 'some text', 0, 9, 9, 'some text', 2]);
  });

  it('can be transferred while it is used for what the kernel refuses', async () => {
    const result = await program(`
      // Which takes numbers only.
      const fd = fs.openSync('/proc/self/oom_score_adj', 'r+');
      const size = 8192;
      const full = () => Buffer.from(new ArrayBuffer(size)).fill('x');
      const codes = [];
      for (const write of [
        (buffer) => called(fs.write, fd, buffer, 0, size, null),
        (buffer) => called(fs.writev, fd, [buffer]),
      ]) {
        const buffer = full();
        const writing = write(buffer);
        structuredClone(0, { transfer: [buffer.buffer] });
        codes.push((await writing).code);
      }
      const handle = await fsp.open('/proc/self/oom_score_adj', 'r+');
      const buffer = full();
      const writing = handle.write(buffer).catch((error) => error.code);
      structuredClone(0, { transfer: [buffer.buffer] });
      codes.push(await writing);
      await handle.close();
      tell(codes);`);
    expect(result).toEqual(['EINVAL', 'EINVAL', 'EINVAL']);
  });

  it('can be transferred after a whole file was written from it', async () => {
    const result = await program(`
      const results = [];
      for (const size of [100, 100_000]) {
        const data = new Uint8Array(size).fill(7);
        const writing = fsp.writeFile(directory + '/data', data);
        const moved = structuredClone(data.buffer, { transfer: [data.buffer] });
        await writing;
        results.push(data.length, moved.byteLength, fs.readFileSync(directory + '/data').length);
      }
      tell([...results, since('writeFile', 'fs/promises')]);`);
    expect(result).toEqual([0, 100, 100, 0, 100_000, 100_000, 2]);
  });

  it('may be resizable, shrink while it is read into, and be shared', async () => {
    const result = await program(`
      const fd = fs.openSync(text);
      const shrinking = new Uint8Array(new ArrayBuffer(9, { maxByteLength: 20 }));
      const reading = called(fs.read, fd, shrinking, 0, 9, 0);
      shrinking.buffer.resize(4);
      const [count] = await reading;
      const shared = new Uint8Array(new SharedArrayBuffer(9));
      await called(fs.read, fd, shared, 0, 9, 0);
      tell([count, Buffer.from(shrinking).toString(), Buffer.from(shared).toString(), since('read')]);`);
    expect(result).toEqual([9, 'some', 'some text', 2]);
  });

  it('is not collected while it is read into, whoever forgets it', async () => {
    const { code, stdout } = await runCommand(
      [
        process.execPath,
        '--expose-gc',
        ...HOOK,
        '--input-type=module',
        '-e',
        `${PRELUDE}
        import { execFileSync } from 'node:child_process';
        const [from, to] = ['${directory}/pipe-a', '${directory}/pipe-b'];
        execFileSync('mkfifo', [from]);
        const fd = fs.openSync(from, 'r+');
        let seen;
        (() => fs.read(fd, Buffer.alloc(100_000), 0, 100_000, null, (error, count, buffer) => { seen = [count, buffer[0], buffer[count - 1]]; }))();
        await new Promise(setImmediate);
        for (let i = 0; i < 5; i++) { gc(); Buffer.alloc(1 << 20).fill(i); await new Promise(setImmediate); }
        await called(fs.write, fd, Buffer.alloc(50_000, 9), 0, 50_000, null);
        while (seen === undefined) await new Promise(setImmediate);
        tell(seen);`,
      ],
      { env: { OURO_ADAPTERS: 'fs' }, limitMs: 60_000 },
    );
    expect({ code, stdout }).toEqual({ code: 0, stdout: '[50000,9,9]' });
  });
});

describe('a descriptor', () => {
  it('that is closed at once after an op was asked for is still the one that was meant', async () => {
    const result = await program(`
      const fd = fs.openSync(text);
      const buffer = Buffer.alloc(9);
      const reading = called(fs.read, fd, buffer, 0, 9, 0);
      const looking = called(fs.fstat, fd);
      fs.closeSync(fd);
      // Lower numbers may be free as well.
      const next = Array.from({ length: 20 }, () => fs.openSync(other));
      const [count] = await reading;
      const [looked] = await looking;
      tell([next.includes(fd), count, buffer.toString(), looked.size]);`);
    expect(result).toEqual([true, 9, 'some text', 9]);
  });

  it('is left to the program: none is closed that others have opened, and none stays open', async () => {
    const result = await program(`
      const open = () => fs.readdirSync('/proc/self/fd').length;
      await fsp.stat(text);
      const before = open();
      const handles = await Promise.all(Array.from({ length: 20 }, () => fsp.open(text)));
      const during = open();
      await Promise.all(handles.map((handle) => handle.close()));
      for (let i = 0; i < 20; i++) await called(fs.close, (await called(fs.open, text))[0]);
      await Promise.all(Array.from({ length: 20 }, () => fsp.readFile(text)));
      await Promise.all(Array.from({ length: 20 }, () => fsp.open(text + '.missing').catch(() => {})));
      await Promise.all(Array.from({ length: 5 }, (_, i) => fsp.writeFile(directory + '/n' + i, 'x')));
      // What was read as a whole is closed behind it, with the next ops at the latest.
      await fsp.stat(text);
      await fsp.stat(text);
      tell([during - before, open() - before, since('close'), since('FileHandle open')]);`);
    expect(result).toEqual([20, 0, 20, 40]);
  });

  it('of a FileHandle goes with it to another thread, and is closed there', async () => {
    const result = await program(`
      import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
      const { port1, port2 } = new MessageChannel();
      const handle = await fsp.open(text);
      const { fd } = handle;
      port1.postMessage(handle, [handle]);
      const { message } = receiveMessageOnPort(port2);
      const content = await message.readFile('utf8');
      const received = message.fd;
      await message.close();
      const closed = await called(fs.fstat, fd);
      port1.close();
      tell([handle.fd, received === fd, content, closed.code, message instanceof handle.constructor]);`);
    expect(result).toEqual([-1, true, 'some text', 'EBADF', true]);
  });

  it('of a pipe that nobody reads is waited for, as by a thread', async () => {
    const pipe = join(directory, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const result = await program(`
      const path = ${JSON.stringify(pipe)};
      const writing = called(fs.open, path, 'r+').then(([fd]) => fd);
      const fd = await writing;
      const opened = (await called(fs.open, path, fs.constants.O_WRONLY))[0];
      await called(fs.write, opened, 'through');
      const buffer = Buffer.alloc(20);
      const [count] = await called(fs.read, fd, buffer, 0, 20, null);
      tell(buffer.toString('utf8', 0, count));`);
    expect(result).toBe('through');
  });
});

describe('a callback', () => {
  it('has the context of its call, and what it throws is an uncaught exception', async () => {
    const result = await program(`
      import { AsyncLocalStorage } from 'node:async_hooks';
      const storage = new AsyncLocalStorage();
      const seen = [];
      const calls = {
        stat: (back) => fs.stat(text, back),
        readFile: (back) => fs.readFile(text, back),
        writeFile: (back) => fs.writeFile(directory + '/context', 'x', back),
        missing: (back) => fs.open(text + '.missing', back),
      };
      await Promise.all(Object.entries(calls).map(([name, call]) => storage.run(name, () => new Promise((done) => {
        call(() => { seen.push(storage.getStore() === name); done(); });
      }))));
      process.on('uncaughtException', (error, origin) => seen.push([error.message, origin]));
      for (const [name, call] of Object.entries(calls)) {
        await new Promise((done) => call(() => { setImmediate(done); throw new Error(name); }));
      }
      tell(seen);`);
    const thrown = ['stat', 'readFile', 'writeFile', 'missing'].map((name) => [name, 'uncaughtException']);
    expect(result).toEqual([true, true, true, true, ...thrown]);
  });
});

describe('a worker', () => {
  it('opens and closes by Node, so that its list of what is open stays true, and does all else by the ring', async () => {
    const worker = join(directory, 'worker.mjs');
    writeFileSync(
      worker,
      `import fs from 'node:fs';
       import { parentPort, workerData } from 'node:worker_threads';
       const { stats } = await import(workerData.adapters);
       fs.open(workerData.text, (error, fd) => fs.read(fd, Buffer.alloc(9), (failed, count) => fs.close(fd, () => {
         fs.closeSync(fs.openSync(workerData.text));
         const { open, close, read } = stats().fs;
         parentPort.postMessage({ count, open, close, read: read.ours > 0 });
       })));`,
    );
    const starter = join(directory, 'starter.mjs');
    writeFileSync(
      starter,
      `import { Worker } from 'node:worker_threads';
       const workerData = { text: ${JSON.stringify(text)}, adapters: ${JSON.stringify(join(process.cwd(), 'packages/adapters/dist/index.js'))} };
       new Worker(${JSON.stringify(worker)}, { workerData }).on('message', (told) => console.log(JSON.stringify(told)));`,
    );
    const { stdout, stderr } = await runCommand([process.execPath, ...HOOK, starter], {
      env: { OURO_ADAPTERS: 'fs' },
      limitMs: 60_000,
    });
    expect({ stderr, told: JSON.parse(stdout) }).toEqual({ stderr: '', told: { count: 9, read: true } });
  });

  it('that is terminated in the middle of it leaves no more open than the one that it was being given', async () => {
    const worker = join(directory, 'busy.mjs');
    writeFileSync(
      worker,
      `import fsp from 'node:fs/promises';
       import { parentPort, workerData } from 'node:worker_threads';
       const lane = async () => { for (;;) { await fsp.readFile(workerData); const h = await fsp.open(workerData); await h.read(); await h.close(); } };
       parentPort.postMessage('begun');
       await Promise.all(Array.from({ length: 8 }, lane));`,
    );
    const starter = join(directory, 'terminating.mjs');
    writeFileSync(
      starter,
      `import fs from 'node:fs';
       import { once } from 'node:events';
       import { Worker } from 'node:worker_threads';
       const open = () => fs.readdirSync('/proc/self/fd').filter((fd) => { try { return fs.readlinkSync('/proc/self/fd/' + fd) === ${JSON.stringify(text)}; } catch { return false; } }).length;
       for (let i = 0; i < 3; i++) {
         const worker = new Worker(${JSON.stringify(worker)}, { workerData: ${JSON.stringify(text)} });
         await once(worker, 'message');
         await new Promise((done) => setTimeout(done, 20 * i));
         await worker.terminate();
       }
       console.log(open());`,
    );
    const { stdout, code } = await runCommand([process.execPath, '--no-warnings', ...HOOK, starter], {
      env: { OURO_ADAPTERS: 'fs' },
      limitMs: 60_000,
    });
    expect(code).toBe(0);
    expect(Number(stdout)).toBeLessThanOrEqual(3);
  });
});
