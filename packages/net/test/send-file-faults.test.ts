import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { File } from '@ouro/fs';
import { Scope } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../testing/program.ts';
import { bytes, failure, leavesNothing, listen, mixed, type Pair, POLL, pair, readAll } from './support.ts';
import {
  fileOf,
  openNames,
  openPipes,
  SOURCES,
  stalls,
  take,
  temporaryDirectory,
} from './transfer-support.ts';

const dir = temporaryDirectory();
const data = bytes(16 << 20, 11);
const path = fileOf(dir, 'file', data);

/** A transfer that has come as far as its peer, who does not read, lets it. */
async function stalled(
  source: string,
  body: (
    ends: Pair,
    sending: ReturnType<Pair['server']['sendFile']>,
    close: () => Promise<unknown>,
  ) => Promise<void>,
): Promise<void> {
  await leavesNothing(async () => {
    await using ends = await pair();
    const opened = await SOURCES[source](path);
    const sending = ends.server.sendFile(opened.target, { offset: 0 });
    sending.catch(() => {});
    await unread(ends);
    await body(ends, sending, opened.close);
    await opened.close();
  });
}

/** Comes back when as much lies in the client's socket as it takes. */
async function unread({ client }: Pair): Promise<void> {
  const { siocinq } = await import('@ouro/net/ops');
  const { submit } = await import('@ouro/runtime');
  let arrived = 0;
  const look = setInterval(() => {
    submit(siocinq(client)).then(
      (count) => {
        arrived = count;
      },
      () => {},
    );
  }, 10);
  try {
    await stalls(() => arrived);
  } finally {
    clearInterval(look);
  }
}

describe.each(Object.keys(SOURCES))('sendFile of %s whose peer does not read', (source) => {
  it('is cancelled, says how far it came, and leaves the stream as it was', async () => {
    await stalled(source, async ({ server, client }, sending) => {
      sending.cancel('enough');
      const { code, bytesTransferred = 0 } = await failure(sending);
      expect(code).toBe('ABORT_ERR');
      expect(bytesTransferred).toBeGreaterThan(0);
      expect(bytesTransferred).toBeLessThan(data.length);
      const behind = server.writeAll('behind it');
      const received = await take(client, bytesTransferred + 9);
      await behind;
      expect(received.subarray(0, bytesTransferred).equals(data.subarray(0, bytesTransferred))).toBe(true);
      expect(received.subarray(bytesTransferred).toString()).toBe('behind it');
    });
  });

  it('ends with ECANCELED when the stream is closed', async () => {
    await stalled(source, async ({ server }, sending) => {
      await server.close();
      const { code, bytesTransferred = 0 } = await failure(sending);
      expect(code).toBe('ECANCELED');
      expect(bytesTransferred).toBeGreaterThan(0);
    });
  });

  it('ends with EPIPE or ECONNRESET when the peer is gone', async () => {
    await stalled(source, async ({ client }, sending) => {
      await client.close();
      const { code, bytesTransferred = 0 } = await failure(sending);
      expect(code).toMatch(/^(EPIPE|ECONNRESET)$/);
      expect(bytesTransferred).toBeGreaterThan(0);
    });
  });

  // (Of a number nothing is known, and of a FileHandle the descriptor is our own.)
  if (source !== 'the number of a descriptor' && source !== 'a FileHandle of Node') {
    it('ends with ECANCELED when the file is closed, and leaves the stream as it was', async () => {
      await stalled(source, async ({ server, client }, sending, close) => {
        await close();
        const { code, bytesTransferred = 0 } = await failure(sending);
        expect(code).toBe('ECANCELED');
        const behind = server.writeAll('behind it');
        const received = await take(client, bytesTransferred + 9);
        await behind;
        expect(received.subarray(bytesTransferred).toString()).toBe('behind it');
      });
    });
  }
});

describe('sendFile', () => {
  it('that is cancelled before its turn sends nothing', async () => {
    await using ends = await pair();
    await using file = await File.open(path);
    const first = ends.server.writeAll(data);
    const sending = ends.server.sendFile(file, { offset: 0 });
    const last = ends.server.writeAll('last');
    sending.cancel();
    expect(await failure(sending)).toEqual({
      message: 'The operation was aborted',
      name: 'AbortError',
      code: 'ABORT_ERR',
      bytesTransferred: 0,
    });
    const received = await take(ends.client, data.length + 4);
    await Promise.all([first, last]);
    expect(received.subarray(data.length).toString()).toBe('last');
  });

  it('that waits for its turn fails with ECANCELED when the stream or the file is closed', async () => {
    await leavesNothing(async () => {
      for (const which of ['stream', 'file']) {
        await using ends = await pair();
        await using file = await File.open(path);
        const first = ends.server.writeAll(data);
        const sending = ends.server.sendFile(file, { offset: 0 });
        const failed = Promise.all([failure(sending), which === 'stream' ? failure(first) : null]);
        if (which === 'stream') await ends.server.close();
        else {
          await file.close();
          await take(ends.client, data.length);
          await first;
        }
        expect((await failed)[0]).toMatchObject({ code: 'ECANCELED' });
      }
    });
  });

  it.each(['signal', 'scope', 'timeout', 'stream.cancel'])('is given up by %s', async (how) => {
    await leavesNothing(async () => {
      await using ends = await pair();
      await using file = await File.open(path);
      const controller = new AbortController();
      const scope = new Scope();
      const options = { signal: { signal: controller.signal }, scope: { scope }, timeout: { timeout: 300 } };
      const sending = ends.server.sendFile(file, { offset: 0, ...options[how as keyof typeof options] });
      sending.catch(() => {});
      await unread(ends);
      controller.abort();
      scope.cancel();
      if (how === 'stream.cancel') ends.server.cancel();
      const { code, bytesTransferred = 0 } = await failure(sending);
      expect(code).toBe(how === 'timeout' ? 'ETIMEDOUT' : 'ABORT_ERR');
      const received = await take(ends.client, bytesTransferred);
      expect(received.equals(data.subarray(0, bytesTransferred))).toBe(true);
    });
  });

  it('that was cancelled puts the position of the file behind what was sent', async () => {
    await using ends = await pair();
    await using file = await File.open(path);
    const sending = ends.server.sendFile(file);
    sending.catch(() => {});
    await unread(ends);
    sending.cancel();
    const { bytesTransferred = 0 } = await failure(sending);
    const next = Buffer.alloc(8);
    await file.read(next);
    expect(next.equals(data.subarray(bytesTransferred, bytesTransferred + 8))).toBe(true);
  });

  it('may be cancelled again and again, at any moment, without a byte too much or too few', async () => {
    await leavesNothing(async () => {
      await using ends = await pair();
      await using file = await File.open(path);
      let sent = 0;
      const received = readAll(ends.client);
      for (let round = 0; round < 60; round++) {
        const sending = ends.server.sendFile(file, { offset: sent, length: 3_000_000 });
        for (let turns = round % 7; turns > 0; turns--) await new Promise(setImmediate);
        sending.cancel();
        sent += await sending.catch((error: { bytesTransferred: number }) => error.bytesTransferred);
        if (sent > data.length - 3_000_000) break;
      }
      await ends.server.shutdown();
      expect((await received).equals(data.subarray(0, sent))).toBe(true);
    });
  });

  it('gives its pipes back: those that held bytes are closed', async () => {
    await using file = await File.open(path);
    const before = openNames().sort();
    for (let round = 0; round < 30; round++) {
      const opened = await SOURCES['a direct descriptor'](path);
      await using ends = await pair();
      const sending = ends.server.sendFile(opened.target, { offset: 0 });
      const read = take(ends.client, 1 << 20);
      await read;
      sending.cancel();
      await failure(sending);
      await opened.close();
    }
    await expect.poll(() => openNames().sort(), POLL).toEqual(before);
    expect(openPipes()).toBeLessThanOrEqual(40);
    expect(file.fd).toBeGreaterThan(0);
  });

  it('that stalls 200 times over keeps no read of a file from being done', async () => {
    await leavesNothing(async () => {
      const pairs = await Promise.all(Array.from({ length: 200 }, () => pair()));
      const files = await Promise.all(
        pairs.map((_, index) => SOURCES[index % 2 === 0 ? 'a file in memory' : 'a direct descriptor'](path)),
      );
      const sending = pairs.map(({ server }, index) => server.sendFile(files[index].target, { offset: 0 }));
      for (const each of sending) each.catch(() => {});
      await unread(pairs[0]);
      await unread(pairs[199]);
      let reads = 0;
      for (let round = 0; round < 20; round++) {
        await using file = await File.open(path);
        await Promise.all(
          Array.from({ length: 16 }, async (_, index) => {
            const buffer = Buffer.alloc(4096);
            const count = await file.read(buffer, index * 65_536);
            if (count === 4096) reads++;
          }),
        );
        await file.sync();
      }
      expect(reads).toBe(320);
      for (const each of sending) each.cancel();
      for (const each of await Promise.all(sending.map((each) => failure(each)))) {
        expect(each.code).toBe('ABORT_ERR');
      }
      await Promise.all(files.map((each) => each.close()));
      await Promise.all(pairs.map((each) => each[Symbol.asyncDispose]()));
    });
  });

  it('goes on although the peer has closed its sending side', async () => {
    await using ends = await mixed();
    await using file = await File.open(path);
    ends.socket.end();
    const sending = ends.stream.sendFile(file, { offset: 0, length: 5 << 20 });
    let received = 0;
    ends.socket.on('data', (chunk: Buffer) => {
      received += chunk.length;
    });
    expect(await sending).toBe(5 << 20);
    await expect.poll(() => received, POLL).toBe(5 << 20);
  });
});

/** Sends a file to a peer that does not read, in a thread of its own. */
const SENDER = `
  const { parentPort, workerData } = require('node:worker_threads');
  (async () => {
    const { TcpStream } = await import('@ouro/net');
    const { File } = await import('@ouro/fs');
    const { openat } = await import('@ouro/fs/ops');
    const { submit } = await import('@ouro/runtime');
    const stream = await TcpStream.connect({ host: '127.0.0.1', port: workerData.port });
    const source = workerData.direct ? await submit(openat(workerData.path, 0, 0, { into: 'any' })) : await File.open(workerData.path);
    const sending = stream.sendFile(source, { offset: 0 });
    parentPort.postMessage('begun');
    await sending;
  })();
`;

describe('a thread that ends in the middle of sendFile', () => {
  it.each([0, 1, 5, 20, 60])('leaves nothing open, %i ms on its way', async (ms) => {
    await leavesNothing(async () => {
      for (const direct of [false, true]) {
        await using listener = await listen();
        const worker = new Worker(SENDER, {
          eval: true,
          workerData: { port: listener.address.port, path, direct },
        });
        await using stream = await listener.accept();
        await once(worker, 'message');
        await new Promise((later) => setTimeout(later, ms));
        await worker.terminate();
        const received = await readAll(stream).catch(() => null);
        if (received !== null) expect(received.equals(data.subarray(0, received.length))).toBe(true);
      }
    });
  });

  it('and the process with it ends as it says', async () => {
    await using listener = await listen();
    const program = runProgram(`
      import { File } from '@ouro/fs';
      import { TcpStream } from '@ouro/net';
      const stream = await TcpStream.connect({ host: '127.0.0.1', port: ${listener.address.port} });
      const file = await File.open(${JSON.stringify(path)});
      stream.sendFile(file, { offset: 0 });
      stream.read(Buffer.alloc(1)).then(() => process.exit(9));
    `);
    await using stream = await listener.accept();
    await stream.writeAll('x');
    const received = await readAll(stream).catch(() => Buffer.alloc(0));
    expect(received.equals(data.subarray(0, received.length))).toBe(true);
    expect(await program).toMatchObject({ code: 9, stderr: '' });
  });
});
