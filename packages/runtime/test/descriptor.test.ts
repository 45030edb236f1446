import { openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { File } from '@ouro/fs';
import { TcpListener, TcpStream } from '@ouro/net';
import { submit } from '@ouro/runtime';
import { type Descriptor, OrdinaryDescriptor } from '@ouro/runtime/driver';
import { nop } from '@ouro/runtime/ops';
import { describe, expect, it } from 'vitest';
import {
  failure,
  failures,
  fifo,
  leavesNothing,
  read,
  submitted,
  temporaryDirectory,
  write,
} from './support.ts';

const dir = temporaryDirectory();
const silent = (): Descriptor => new OrdinaryDescriptor(openSync(fifo(dir), 'r+'));

describe('a descriptor', () => {
  it('cancels all ops on it, and stays open', async () => {
    await leavesNothing(async () => {
      await using pipe = silent();
      const all = Array.from({ length: 100 }, () => submit(read(pipe, Buffer.alloc(1))));
      await submitted();
      pipe.cancel('why');
      for (const error of await failures(all)) {
        expect(error).toMatchObject({ code: 'ABORT_ERR', cause: 'why' });
      }
      expect(pipe).toMatchObject({ idle: true, closed: false });
      expect(await submit(write(pipe, 'x'))).toBe(1);
    });
  });

  it('of a file and of a connection is cancelled by their cancel', async () => {
    await leavesNothing(async () => {
      await using file = await File.open(fifo(dir), 'r+');
      const reads = [file.read(Buffer.alloc(1)), file.read(Buffer.alloc(1))];
      await submitted();
      file.cancel('file');
      for (const each of reads)
        await expect(each).rejects.toMatchObject({ code: 'ABORT_ERR', cause: 'file' });
    });
  });

  it('of a connection cancels the sends that wait for their turn as well', async () => {
    await leavesNothing(async () => {
      await using listener = await TcpListener.bind({ host: '127.0.0.1' });
      const accepting = listener.accept();
      await using client = await TcpStream.connect({ host: '127.0.0.1', port: listener.address.port });
      await using _server = await accepting;
      const first = client.writeAll(Buffer.alloc(64 << 20));
      const behind = Array.from({ length: 5 }, () => client.writeAll('behind'));
      const reading = client.read(Buffer.alloc(1));
      await submitted();
      client.cancel('all of it');
      const [cut, ...others] = await failures([first, ...behind, reading]);
      expect(cut).toMatchObject({ code: 'ABORT_ERR', bytesTransferred: expect.any(Number) as number });
      for (const error of others) {
        expect(error).toMatchObject({ code: 'ABORT_ERR', cause: 'all of it' });
      }
    });
  });

  it('that is closed ends what reads, finishes what writes, and refuses what comes later', async () => {
    await leavesNothing(async () => {
      const pipe = silent();
      const reading = submit(read(pipe, Buffer.alloc(1)));
      await submitted();
      const closing = pipe.close();
      expect(pipe).toMatchObject({ closed: true, fd: -1 });
      await expect(submit(nop().on(pipe))).rejects.toMatchObject({ code: 'EBADF', syscall: 'nop' });
      await expect(reading).rejects.toMatchObject({ code: 'ECANCELED', syscall: 'read' });
      await closing;
      expect(pipe.close()).toBe(closing);
    });
  });

  it('that is closed with writes queued has them written first', async () => {
    await leavesNothing(async () => {
      const path = join(dir, 'written');
      writeFileSync(path, '');
      const file = new OrdinaryDescriptor(openSync(path, 'r+'));
      const all = Array.from({ length: 50 }, (_, at) => submit(write(file, 'x', at)));
      await file.close();
      expect(await Promise.all(all)).toEqual(Array(50).fill(1));
      expect(readFileSync(path, 'utf8')).toBe('x'.repeat(50));
    });
  });

  it('whose closing cannot be cancelled closes all the same', async () => {
    await leavesNothing(async () => {
      const pipe = silent();
      const closing = pipe.close();
      closing.cancel();
      await closing;
      const busy = silent();
      const reading = submit(read(busy, Buffer.alloc(1)));
      const waiting = busy.close();
      waiting.cancel();
      await failure(reading);
      await waiting;
    });
  });
});
