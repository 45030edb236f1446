import { closeSync, constants, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { File, readFile, writeFile } from '@ouro/fs';
import { AbortError, type Future } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import {
  begun,
  failure,
  fifo,
  openDescriptors,
  openFiles,
  submitted,
  temporaryDirectory,
} from './support.ts';

const dir = temporaryDirectory();
const path = join(dir, 'file');
writeFileSync(path, 'content');

let pipes = 0;
const pipe = (): string => fifo(join(dir, `pipe-${pipes++}`));

describe('cancel', () => {
  it('ends a read that waits with an AbortError', async () => {
    await using file = await File.open(pipe(), 'r+');
    const reading = file.read(Buffer.alloc(10));
    await submitted();
    const reason = new Error('changed my mind');
    reading.cancel(reason);
    const error = await reading.catch((error: unknown) => error);
    expect(error).toBeInstanceOf(AbortError);
    expect(error).toMatchObject({
      name: 'AbortError',
      code: 'ABORT_ERR',
      cause: reason,
      bytesTransferred: 0,
    });
  });

  it('ends a read that has not even been submitted', async () => {
    await using file = await File.open(pipe(), 'r+');
    const reading = file.read(Buffer.alloc(10));
    reading.cancel();
    expect(await failure(reading)).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR' });
  });

  it('leaves the file usable, and the bytes in the pipe', async () => {
    await using file = await File.open(pipe(), 'r+');
    const reading = file.read(Buffer.alloc(10));
    await submitted();
    reading.cancel();
    await failure(reading);
    await file.write('still there');
    const buffer = Buffer.alloc(20);
    expect(buffer.toString('utf8', 0, await file.read(buffer))).toBe('still there');
  });

  it('of one read leaves the others waiting', async () => {
    await using file = await File.open(pipe(), 'r+');
    const [first, second] = [Buffer.alloc(4), Buffer.alloc(4)];
    const cancelled = file.read(first);
    const other = file.read(second);
    await submitted();
    cancelled.cancel();
    await failure(cancelled);
    await file.write('data');
    expect(await other).toBe(4);
    expect([first.toString(), second.toString()]).toEqual(['\0\0\0\0', 'data']);
  });

  it('has no effect on a read that was quicker: no byte is lost', async () => {
    await using file = await File.open(path);
    const buffer = Buffer.alloc(7);
    const reading = file.read(buffer);
    reading.cancel();
    expect([await reading, buffer.toString()]).toEqual([7, 'content']);
    reading.cancel();
  });

  it('of a write says how many bytes had been written', async () => {
    await using file = await File.open(pipe(), 'r+');
    const writing = file.write(Buffer.alloc(1 << 20));
    await submitted();
    writing.cancel('enough');
    await expect(writing).rejects.toMatchObject({
      code: 'ABORT_ERR',
      cause: 'enough',
      bytesTransferred: 65536,
    });
  });
});

describe('a signal', () => {
  it('ends a read that waits with an AbortError', async () => {
    await using file = await File.open(pipe(), 'r+');
    const controller = new AbortController();
    const reading = file.read(Buffer.alloc(10), null, { signal: controller.signal });
    await submitted();
    controller.abort('stop');
    await expect(reading).rejects.toMatchObject({ name: 'AbortError', code: 'ABORT_ERR', cause: 'stop' });
  });

  it('of a timeout ends a read too', async () => {
    await using file = await File.open(pipe(), 'r+');
    const reading = file.read(Buffer.alloc(10), null, { signal: AbortSignal.timeout(1) });
    await expect(reading).rejects.toMatchObject({ code: 'ABORT_ERR', cause: { name: 'TimeoutError' } });
  });

  it('that aborts afterwards changes nothing', async () => {
    await using file = await File.open(path);
    const controller = new AbortController();
    const reading = file.read(Buffer.alloc(7), 0, { signal: controller.signal });
    expect(await reading).toBe(7);
    controller.abort();
    expect(await reading).toBe(7);
  });

  it('that has aborted before lets nothing begin', async () => {
    await using file = await File.open(path, 'r+');
    const signal = AbortSignal.abort('too late');
    const before = begun();
    const futures: readonly Future<unknown>[] = [
      File.open(path, 'r', { signal }),
      File.create(path, { signal }),
      file.read(Buffer.alloc(1), 0, { signal }),
      file.write('x', 0, { signal }),
      file.stat({ signal }),
      file.sync({ signal }),
      file.datasync({ signal }),
      file.truncate(0, { signal }),
      readFile(path, { signal }),
      writeFile(path, 'x', { signal }),
    ];
    expect(begun()).toBe(before);
    const refusal = { name: 'AbortError', code: 'ABORT_ERR', cause: 'too late' };
    await Promise.all(futures.map((future) => expect(future).rejects.toMatchObject(refusal)));
    expect(await readFile(path, 'utf8')).toBe('content');
  });
});

describe('a cancelled open', () => {
  it('of a pipe that nobody reads ends with an AbortError and leaves no descriptor', async () => {
    const name = pipe();
    await submitted();
    const before = openDescriptors();
    const opening = File.open(name, 'w');
    await submitted();
    opening.cancel('nobody comes');
    await expect(opening).rejects.toMatchObject({
      name: 'AbortError',
      code: 'ABORT_ERR',
      cause: 'nobody comes',
    });
    await submitted();
    expect(openDescriptors()).toBe(before);
  });

  it('of a pipe has no descriptor left when it has ended, not a moment later', async () => {
    const names = Array.from({ length: 8 }, () => pipe());
    await submitted();
    const ours = (): string[] => openFiles().filter((file) => file.includes(dir));
    const before = ours();
    for (let round = 0; round < 100; round++) {
      const opening = names.map((name) => failure(File.open(name, 'w', { timeout: 1 })));
      await Promise.all(opening);
      expect(ours()).toEqual(before);
    }
  });

  it.each(['w', 'a', constants.O_WRONLY] as const)(
    'ends at once if it has just begun (%s)',
    async (flags) => {
      const opening = File.open(pipe(), flags);
      opening.cancel('changed my mind');
      await expect(opening).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'changed my mind' });
    },
  );

  it('ends by signal too', async () => {
    const controller = new AbortController();
    const opening = File.open(pipe(), constants.O_WRONLY, { signal: controller.signal });
    await submitted();
    controller.abort('stop');
    await expect(opening).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'stop' });
  });

  it('that succeeds all the same has its descriptor closed', async () => {
    await submitted();
    const before = openDescriptors();
    for (let round = 0; round < 200; round++) {
      const opening = File.open(path);
      opening.cancel();
      expect(await failure(opening)).toMatchObject({ code: 'ABORT_ERR' });
    }
    await submitted();
    expect(openDescriptors()).toBe(before);
  });

  it('that meets its peer in the same moment gives a file or an AbortError, never a lost descriptor', async () => {
    const name = pipe();
    await submitted();
    const before = openDescriptors();
    for (let round = 0; round < 200; round++) {
      const opening = File.open(name, 'w');
      await submitted();
      const peer = openSync(name, constants.O_RDONLY | constants.O_NONBLOCK);
      if (round % 2 === 0) await submitted();
      opening.cancel();
      const opened = await opening.catch((error: unknown) => {
        expect(error).toMatchObject({ code: 'ABORT_ERR' });
        return null;
      });
      await opened?.close();
      closeSync(peer);
    }
    await submitted();
    expect(openDescriptors()).toBe(before);
  });
});

describe('a cancelled readFile', () => {
  it('of a pipe that nobody writes to ends with an AbortError', async () => {
    await submitted();
    const before = openDescriptors();
    const reading = readFile(pipe());
    await submitted();
    reading.cancel('nobody comes');
    await expect(reading).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'nobody comes' });
    await submitted();
    expect(openDescriptors()).toBe(before);
  });

  it('in the middle closes the file', async () => {
    const name = pipe();
    await submitted();
    const before = openDescriptors();
    const reading = readFile(name);
    await submitted();
    const peer = openSync(name, 'w');
    writeSync(peer, 'half of it');
    await submitted();
    const handled = failure(reading);
    reading.cancel();
    expect(await handled).toMatchObject({ code: 'ABORT_ERR' });
    closeSync(peer);
    await submitted();
    expect(openDescriptors()).toBe(before);
  });

  it('ends even if every single read is quicker than its cancellation', async () => {
    const before = openDescriptors();
    const reading = readFile('/dev/zero', { signal: AbortSignal.timeout(20) });
    await expect(reading).rejects.toMatchObject({ code: 'ABORT_ERR' });
    await submitted();
    expect(openDescriptors()).toBe(before);
  });
});

describe('a cancelled writeFile', () => {
  it('to a pipe that nobody reads ends with an AbortError', async () => {
    await writeFile('/dev/null', ''); // what stands beside the ring has descriptors of its own
    await submitted();
    const before = openDescriptors();
    const writing = writeFile(pipe(), 'x');
    await submitted();
    writing.cancel('nobody comes');
    await expect(writing).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'nobody comes' });
    await submitted();
    expect(openDescriptors()).toBe(before);
  });

  it('in the middle closes the file and says how much was written', async () => {
    const name = pipe();
    const peer = openSync(name, 'r+');
    await submitted();
    const before = openDescriptors();
    const controller = new AbortController();
    const writing = writeFile(name, Buffer.alloc(1 << 20), { signal: controller.signal });
    const handled = writing.catch((error: unknown) => error);
    while (openDescriptors() === before) await submitted();
    for (let turn = 0; turn < 5; turn++) await submitted();
    controller.abort('stop');
    expect(await handled).toMatchObject({ code: 'ABORT_ERR', cause: 'stop', bytesTransferred: 65536 });
    await submitted();
    expect(openDescriptors()).toBe(before);
    closeSync(peer);
  });

  it('before the file is open leaves the file as it was', async () => {
    const writing = writeFile(path, 'x');
    writing.cancel();
    expect(await failure(writing)).toMatchObject({ code: 'ABORT_ERR' });
    expect(await readFile(path, 'utf8')).toBe('content');
  });
});
