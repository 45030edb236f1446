import {
  appendFileSync,
  closeSync,
  constants,
  openSync,
  readFileSync,
  statSync,
  truncateSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { File } from '@ouro/fs';
import { mkfifoat, openat, pipe, write } from '@ouro/fs/ops';
import { UnixStream } from '@ouro/net';
import { submit } from '@ouro/runtime';
import { close, nop } from '@ouro/runtime/driver';
import { describe, expect, it } from 'vitest';
import { polls } from '../../../testing/engine.ts';
import { runProgram } from '../../../testing/program.ts';
import { bytes, failure, leavesNothing, pair, readAll } from './support.ts';
import { fileOf, SOURCES, take, temporaryDirectory } from './transfer-support.ts';

const dir = temporaryDirectory();
const SIZE = 3 * 1_048_576 + 4099;
const data = bytes(SIZE, 7);
const path = fileOf(dir, 'file', data);

/** Parts around all sizes that something happens at. */
const PARTS: readonly (readonly [offset: number, length: number | undefined])[] = [
  [0, undefined],
  [0, 0],
  [0, 1],
  [1, 4095],
  [4096, 4096],
  [4095, 4098],
  [0, 65_536],
  [7, 65_537],
  [65_535, 262_144],
  [100_001, 262_145],
  [12_345, 1_048_576],
  [SIZE - 1, 1],
  [SIZE - 70_000, undefined],
  [SIZE - 5, 1000],
  [SIZE, undefined],
  [SIZE + 100_000, 10],
];

describe('sendFile', () => {
  it.each(Object.keys(SOURCES))('sends any part of %s, byte for byte, in its turn', async (source) => {
    await leavesNothing(async () => {
      await using ends = await pair();
      const opened = await SOURCES[source](path);
      for (const [offset, length] of PARTS) {
        const part = data.subarray(offset, length === undefined ? undefined : offset + length);
        const sent = Promise.all([
          ends.server.writeAll('before'),
          ends.server.sendFile(opened.target, { offset, length }),
          ends.server.writeAll('after'),
        ]);
        const received = await take(ends.client, part.length + 11);
        expect(await sent).toEqual([6, part.length, 5]);
        expect(received.equals(Buffer.concat([Buffer.from('before'), part, Buffer.from('after')]))).toBe(
          true,
        );
      }
      await opened.close();
    });
  });

  it('sends a FileHandle that is closed at once, from where it stands, and another file may get its number', async () => {
    await leavesNothing(async () => {
      await using ends = await pair();
      const handle = await open(path);
      await handle.read(Buffer.alloc(1000));
      const { fd } = handle;
      const waiting = ends.server.writeAll('before');
      const sending = ends.server.sendFile(handle);
      await handle.close();
      const other = openSync(fileOf(dir, 'other', 'not this'), 'r');
      expect(other).toBe(fd);
      const received = await take(ends.client, 6 + SIZE - 1000);
      expect(received.subarray(6).equals(data.subarray(1000))).toBe(true);
      expect([await waiting, await sending]).toEqual([6, SIZE - 1000]);
      expect((await failure(ends.server.sendFile(handle))).code).toBe('EBADF');
      closeSync(other);
    });
  });

  it('sends several parts of one file at once, to one peer and to many', async () => {
    const file = await File.open(path);
    const pairs = await Promise.all(Array.from({ length: 10 }, pair));
    const all = pairs.map(async ({ server, client }) => {
      const sent = Promise.all([
        server.sendFile(file, { offset: 0, length: 500_000 }),
        server.sendFile(file, { offset: 500_000 }),
      ]);
      const received = await take(client, SIZE);
      expect(await sent).toEqual([500_000, SIZE - 500_000]);
      expect(received.equals(data)).toBe(true);
    });
    await Promise.all(all);
    await Promise.all([file.close(), ...pairs.map((each) => each[Symbol.asyncDispose]())]);
  });

  it('leaves the position of the file alone where it is given an offset', async () => {
    await using ends = await pair();
    await using file = await File.open(path);
    await file.read(Buffer.alloc(10));
    await ends.server.sendFile(file, { offset: 100, length: 100 });
    const next = Buffer.alloc(4);
    await file.read(next);
    expect(next.equals(data.subarray(10, 14))).toBe(true);
  });

  it('sends from the current position without one, which stands behind what was sent afterwards', async () => {
    await using ends = await pair();
    await using file = await File.open(path);
    await file.read(Buffer.alloc(10));
    expect(await ends.server.sendFile(file, { length: 100_000 })).toBe(100_000);
    expect((await take(ends.client, 100_000)).equals(data.subarray(10, 100_010))).toBe(true);
    const next = Buffer.alloc(4);
    await file.read(next);
    expect(next.equals(data.subarray(100_010, 100_014))).toBe(true);
    const rest = ends.server.sendFile(file);
    expect((await take(ends.client, SIZE - 100_014)).equals(data.subarray(100_014))).toBe(true);
    expect(await rest).toBe(SIZE - 100_014);
  });

  it('sends what a peer that reads slowly can take, piece after piece', async () => {
    await using ends = await pair();
    await using file = await File.open(path);
    const sent = ends.server.sendFile(file, { offset: 0 });
    const received = Buffer.alloc(SIZE);
    for (let filled = 0; filled < SIZE; ) {
      filled += await ends.client.read(received.subarray(filled, filled + 30_011));
    }
    expect(await sent).toBe(SIZE);
    expect(received.equals(data)).toBe(true);
  });

  it('ends early where the file has been cut meanwhile: the count says what was sent', async () => {
    const long = fileOf(dir, 'cut', bytes(24 << 20, 3));
    await using ends = await pair();
    await using file = await File.open(long);
    const sending = ends.server.sendFile(file, { offset: 0, length: 24 << 20 });
    await take(ends.client, 1 << 20);
    truncateSync(long, 2 << 20);
    const rest = readAll(ends.client);
    const sent = await sending;
    await ends.server.shutdown();
    expect(sent).toBeLessThan(24 << 20);
    expect(sent).toBeGreaterThanOrEqual(2 << 20);
    expect((await rest).length + (1 << 20)).toBe(sent);
  });

  it('sends what the file has grown by meanwhile, too', async () => {
    const first = bytes(12 << 20, 4);
    const growing = fileOf(dir, 'growing', first);
    await using ends = await pair();
    await using file = await File.open(growing);
    const sending = ends.server.sendFile(file, { offset: 0 });
    const head = await take(ends.client, 1 << 20);
    appendFileSync(growing, 'and more');
    const rest = readAll(ends.client);
    expect(await sending).toBe(first.length + 8);
    await ends.server.shutdown();
    expect(Buffer.concat([head, await rest]).equals(Buffer.concat([first, Buffer.from('and more')]))).toBe(
      true,
    );
  });

  it('sends files that are made while they are read, and say that they are empty', async () => {
    await using ends = await pair();
    await using file = await File.open('/proc/version');
    const text = readFileSync('/proc/version');
    expect(await ends.server.sendFile(file)).toBe(text.length);
    expect((await take(ends.client, text.length)).equals(text)).toBe(true);
    expect(await ends.server.sendFile(file, { offset: 3, length: 4 })).toBe(4);
    expect((await take(ends.client, 4)).equals(text.subarray(3, 7))).toBe(true);
  });

  it('sends from a device as much as it is asked for', async () => {
    await using ends = await pair();
    await using file = await File.open('/dev/zero');
    const sending = ends.server.sendFile(file, { length: 300_000 });
    expect((await take(ends.client, 300_000)).equals(Buffer.alloc(300_000))).toBe(true);
    expect(await sending).toBe(300_000);
  });

  it('sends what comes through a pipe, until all its writers are gone', async () => {
    await leavesNothing(async () => {
      await using ends = await pair();
      const [from, to] = await submit(pipe());
      const sending = ends.server.sendFile(from);
      await submit(write(to, Buffer.from('one ')));
      expect((await take(ends.client, 4)).toString()).toBe('one ');
      await submit(write(to, Buffer.from('two')));
      await close(to);
      expect(await sending).toBe(7);
      expect((await take(ends.client, 3)).toString()).toBe('two');
      await close(from);
    });
  });

  it('sends what comes over another connection, until that has ended', async () => {
    await leavesNothing(async () => {
      await using ends = await pair();
      const [from, to] = UnixStream.pair();
      const sending = ends.server.sendFile(from);
      await nop();
      await to.writeAll('one');
      expect((await take(ends.client, 3)).toString()).toBe('one');
      await to.writeAll('two');
      await to.shutdown();
      expect(await sending).toBe(6);
      expect((await take(ends.client, 3)).toString()).toBe('two');
      await Promise.all([from.close(), to.close()]);
    });
  });

  it('takes no more from a pipe than it is asked for', async () => {
    await using ends = await pair();
    const [from, to] = await submit(pipe());
    await submit(write(to, Buffer.from('0123456789')));
    expect(await ends.server.sendFile(from, { length: 4 })).toBe(4);
    expect((await take(ends.client, 4)).toString()).toBe('0123');
    await close(to);
    expect(await ends.server.sendFile(from)).toBe(6);
    await close(from);
  });

  it('fails for what cannot be read', async () => {
    await using ends = await pair();
    await using directory = await File.open(dir);
    expect(await failure(ends.server.sendFile(directory))).toMatchObject({ code: 'EISDIR' });
    await using writable = await File.open(path, 'r+').then((file) => file);
    expect(await ends.server.sendFile(writable, { offset: 0, length: 1 })).toBe(1);
    const onlyWritten = await submit(openat(path, constants.O_WRONLY));
    expect(await failure(ends.server.sendFile(onlyWritten, { offset: 0 }))).toMatchObject({ code: 'EBADF' });
    await close(onlyWritten);
    await ends.server.writeAll('goes on');
    expect((await take(ends.client, 8)).subarray(1).toString()).toBe('goes on');
  });

  it('fails for what is closed, or has been ended', async () => {
    const ends = await pair();
    const file = await File.open(path);
    await file.close();
    expect(await failure(ends.server.sendFile(file))).toMatchObject({ code: 'EBADF', syscall: 'sendfile' });
    await using other = await File.open(path);
    await ends.server.shutdown();
    expect(await failure(ends.server.sendFile(other))).toMatchObject({ code: 'EPIPE', syscall: 'write' });
    await ends[Symbol.asyncDispose]();
    expect(await failure(ends.server.sendFile(other))).toMatchObject({ code: 'EBADF' });
  });

  it('checks its arguments', async () => {
    await using ends = await pair();
    const { server } = ends;
    expect(() => server.sendFile('file' as never)).toThrow(TypeError);
    expect(() => server.sendFile(-1)).toThrow(RangeError);
    expect(() => server.sendFile(0, null as never)).toThrow(TypeError);
    expect(() => server.sendFile(0, { offset: -1 })).toThrow(RangeError);
    expect(() => server.sendFile(0, { offset: 'x' as never })).toThrow(TypeError);
    expect(() => server.sendFile(0, { length: 1.5 })).toThrow(RangeError);
    expect(() => server.sendFile(0, { length: -1 })).toThrow(RangeError);
    expect(() => server.sendFile(0, { timeout: -1 })).toThrow(RangeError);
    expect((await failure(server.sendFile(0, { signal: AbortSignal.abort() }))).code).toBe('ABORT_ERR');
  });

  it('needs no more of the file than that it can be read', async () => {
    // The kernel tells what is in memory only to those who may write the file, or own it.
    expect(statSync('/proc/self/exe').size).toBeGreaterThan(1_000_000);
    await using ends = await pair();
    await using file = await File.open('/proc/self/exe');
    const received = take(ends.client, 200_000);
    expect(await ends.server.sendFile(file, { offset: 0, length: 200_000 })).toBe(200_000);
    expect((await received).equals(readFileSync('/proc/self/exe').subarray(0, 200_000))).toBe(true);
  });

  it('waits for a named pipe that nobody writes yet, and can be given up', async () => {
    await leavesNothing(async () => {
      await using ends = await pair();
      const name = join(dir, 'fifo');
      await submit(mkfifoat(name));
      const fd = await submit(openat(name, constants.O_RDWR));
      const sending = ends.server.sendFile(fd);
      sending.cancel();
      expect((await failure(sending)).code).toBe('ABORT_ERR');
      await close(fd);
    });
  });

  // The kernel tells what is in memory only to those who may write the file; a thread of the kernel must not meet the calls of ours; and
  // what the kernel lacks is done in another way.
  it.each([
    [
      'of somebody who may only read the file',
      { under: ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] },
    ],
    ['with SQPOLL', { env: { OURO_SQPOLL: polls ? '' : '1' } }],
    ['without SPLICE', { env: { OURO_WITHOUT: 'SPLICE', OURO_DRIVER: polls ? 'poll' : 'uring' } }],
  ])('%s sends the same', async (_name, options) => {
    const program = runProgram(
      `
      import { readFileSync } from 'node:fs';
      import { File } from '@ouro/fs';
      import { TcpListener, TcpStream } from '@ouro/net';
      const listener = await TcpListener.bind({ host: '127.0.0.1' });
      const [server, client] = await Promise.all([
        listener.accept(),
        TcpStream.connect({ host: '127.0.0.1', port: listener.address.port }),
      ]);
      const file = await File.open(process.execPath);
      const data = readFileSync(process.execPath);
      for (const [offset, length] of [[1001, 50_000], [0, 3_000_000], [data.length - 300_000, 1e9]]) {
        const part = data.subarray(offset, offset + length);
        const sending = server.sendFile(file, { offset, length });
        const received = Buffer.alloc(part.length);
        for (let filled = 0; filled < received.length; ) filled += await client.read(received.subarray(filled));
        console.log((await sending) === part.length && received.equals(part));
      }
      await Promise.all([server.close(), client.close(), listener.close(), file.close()]);
    `,
      options,
    );
    expect(await program).toMatchObject({ code: 0, stdout: 'true\ntrue\ntrue\n', stderr: '' });
  });
});
