import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { stats, toFileHandle } from '@ouro/adapters';
import { File } from '@ouro/fs';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { temporaryDirectory } from './support.ts';

const directory = temporaryDirectory();
const path = join(directory, 'text');
const descriptors = (): number => readdirSync('/proc/self/fd').length;
const served = (name: string): number => stats().fs?.[name]?.ours ?? 0;

describe('toFileHandle', () => {
  it('makes a FileHandle of Node’s class, on the ring', async () => {
    writeFileSync(path, 'some text');
    const before = { read: served('read'), stat: served('fstat') };
    const node = await open(path);
    const handle = await toFileHandle(await File.open(path, 'r+'));
    expect(handle.constructor).toBe(node.constructor);
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(4), 0, 4, 0);
    expect([bytesRead, String(buffer)]).toEqual([4, 'some']);
    expect((await handle.stat()).size).toBe(9);
    expect(await handle.readFile('utf8')).toBe('some text');
    await handle.write('more', 0);
    expect(readFileSync(path, 'utf8')).toBe('more text');
    expect(served('read')).toBeGreaterThan(before.read);
    expect(served('fstat')).toBeGreaterThan(before.stat);
    await node.close();
    await handle.close();
  });

  it('is the owner of the file, which is closed with it', async () => {
    writeFileSync(path, 'some text');
    await (await toFileHandle(await File.open(path))).close(); // what is made once
    const before = descriptors();
    const file = await File.open(path);
    const handle = await toFileHandle(file);
    expect(file.fd).toBe(-1);
    await expect(file.read(Buffer.alloc(1))).rejects.toMatchObject({ code: 'EBADF' });
    expect(descriptors()).toBe(before + 1);
    await handle.close();
    expect(handle.fd).toBe(-1);
    expect(descriptors()).toBe(before);
  });

  it('keeps position and flags', async () => {
    writeFileSync(path, '123456');
    const file = await File.open(path);
    await file.read(Buffer.alloc(2));
    const handle = await toFileHandle(file);
    expect(await handle.readFile('utf8')).toBe('3456');
    await handle.close();
    const appending = await toFileHandle(await File.open(path, 'a'));
    await appending.write('7', 0);
    await appending.close();
    expect(readFileSync(path, 'utf8')).toBe('1234567');
  });

  it('lets writes that have begun be finished before', async () => {
    const file = await File.create(path);
    const written = file.write(Buffer.alloc(1 << 20, 'x'), 0);
    const handle = await toFileHandle(file);
    expect(await written).toBe(1 << 20);
    expect((await handle.stat()).size).toBe(1 << 20);
    await handle.close();
  });

  it('is a stream, and goes to another thread, as every FileHandle', async () => {
    writeFileSync(path, 'line 1\nline 2\n');
    const handle = await toFileHandle(await File.open(path));
    const lines: string[] = [];
    for await (const line of handle.readLines()) lines.push(line);
    expect(lines).toEqual(['line 1', 'line 2']);
    const other = await toFileHandle(await File.open(path));
    const { port1, port2 } = new MessageChannel();
    const arrived = once(port2, 'message');
    port1.postMessage(other, [other as unknown as MessagePort]);
    const [moved] = (await arrived) as [typeof other];
    expect(await moved.readFile('utf8')).toBe('line 1\nline 2\n');
    expect(other.fd).toBe(-1);
    await moved.close();
    port1.close();
  });

  it('refuses what is closed, or is no file', async () => {
    const file = await File.open(path);
    await file.close();
    await expect(toFileHandle(file)).rejects.toThrow(TypeError);
    const before = descriptors();
    for (const each of [null, undefined, 5, {}, { fd: 1 }, { fd: 1, descriptor: {} }])
      await expect(toFileHandle(each as File)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
    expect(descriptors()).toBe(before);
  });

  it('leaves the file alone where there is no descriptor to be had', async () => {
    const { code, stderr, stdout } = await runProgram(
      `
      import { closeSync, openSync } from 'node:fs';
      import { toFileHandle } from '@ouro/adapters';
      import { File } from '@ouro/fs';
      const full = async (left) => {
        const file = await File.open('/dev/zero');
        const all = [];
        try {
          for (;;) all.push(openSync('/dev/null'));
        } catch {}
        for (let i = 0; i < left; i++) closeSync(all.pop());
        const refused = await toFileHandle(file).then((handle) => handle.close(), ({ code }) => code);
        for (const fd of all) closeSync(fd);
        const read = refused && (await file.read(Buffer.alloc(3)));
        await file.close();
        return [refused, read];
      };
      // At first Node's class is to be found, which takes a descriptor as well.
      console.log(JSON.stringify([await full(0), await full(1), await full(0)]));`,
      { under: ['prlimit', '--nofile=64'] },
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(stdout)).toEqual([
      ['EMFILE', 3],
      [null, null],
      ['EMFILE', 3],
    ]);
  });

  it('leaves nothing behind in a thread that ends', async () => {
    const { code, stderr, stdout } = await runProgram(`
      import { once } from 'node:events';
      import { readdirSync } from 'node:fs';
      import { Worker } from 'node:worker_threads';
      const source = \`
        import { toFileHandle } from '@ouro/adapters';
        import { File } from '@ouro/fs';
        import { parentPort } from 'node:worker_threads';
        const handle = await toFileHandle(await File.open('/dev/null'));
        parentPort.postMessage((await handle.read(Buffer.alloc(1))).bytesRead);
        await handle.close();
        setInterval(() => {}, 1000);\`;
      const run = async () => {
        const worker = new Worker(source, { eval: true });
        await once(worker, 'message');
        await worker.terminate();
      };
      await run();
      const before = readdirSync('/proc/self/fd').length;
      for (let i = 0; i < 3; i++) await run();
      console.log(readdirSync('/proc/self/fd').length - before);`);
    expect({ code, stderr, stdout }).toEqual({ code: 0, stderr: '', stdout: '0\n' });
  });
});
