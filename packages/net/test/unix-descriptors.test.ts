import { closeSync, fstatSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import net from 'node:net';
import { join } from 'node:path';
import { File } from '@ouro/fs';
import { TcpListener, TcpStream, UnixDatagram, UnixListener, UnixSeqpacket, UnixStream } from '@ouro/net';
import { recvmsg } from '@ouro/net/ops';
import { submit } from '@ouro/runtime';
import { describe, expect, it } from 'vitest';
import { start } from '../../../testing/beside.ts';
import { runProgram } from '../../../testing/program.ts';
import { dial, failure, listen } from './support.ts';
import { connection, descriptors, keepsDescriptors, socketDirectory } from './unix-support.ts';

const dir = socketDirectory();
const path = join(dir, 'file');
writeFileSync(path, 'content');

/** Descriptors of the file. */
const openFiles = (count: number): number[] => Array.from({ length: count }, () => openSync(path, 'r'));
const closeAll = (fds: readonly number[]): void => {
  for (const fd of fds) closeSync(fd);
};

const PAIRS = [
  ['stream', () => UnixStream.pair()],
  ['datagram', () => UnixDatagram.pair()],
  ['seqpacket', () => UnixSeqpacket.pair()],
] as const;

describe.each(PAIRS)('descriptors over a %s', (_kind, make) => {
  it('arrive with the bytes that they were sent with, as other numbers for the same open files', async () => {
    await keepsDescriptors(async () => {
      const [one, other] = make();
      const fds = openFiles(3);
      expect(await one.sendDescriptors(fds, 'three')).toBe(5);
      readSync(fds[1], Buffer.alloc(3)); // the position is shared
      const buffer = Buffer.alloc(16);
      const received = await other.receiveDescriptors(buffer);
      expect(received).toMatchObject({ bytes: 5 });
      expect(buffer.toString('utf8', 0, 5)).toBe('three');
      const taken = received?.descriptors.takeAll() ?? [];
      expect(taken).toHaveLength(3);
      const text = Buffer.alloc(16);
      expect(text.toString('utf8', 0, readSync(taken[1], text))).toBe('tent');
      for (const fd of taken) expect(isCloseOnExec(fd)).toBe(true);
      closeAll([...fds, ...taken]);
      await Promise.all([one.close(), other.close()]);
    });
  });

  it('can be closed right after the call', async () => {
    await keepsDescriptors(async () => {
      const [one, other] = make();
      const [fd] = openFiles(1);
      const sent = one.sendDescriptors(fd, 'x');
      closeSync(fd);
      const decoy = openSync('/dev/null', 'r'); // it has the number now
      expect(decoy).toBe(fd);
      await sent;
      const received = await other.receiveDescriptors(Buffer.alloc(1));
      const [taken] = received?.descriptors.takeAll() ?? [];
      expect(fstatSync(taken).ino).toBe(fstatSync(openSyncOnce(path)).ino);
      closeAll([taken, decoy]);
      await Promise.all([one.close(), other.close()]);
    });
  });

  it('that nobody takes are closed', async () => {
    await keepsDescriptors(async () => {
      const [one, other] = make();
      const fds = openFiles(4);
      await one.sendDescriptors(fds, 'x');
      const received = await other.receiveDescriptors(Buffer.alloc(1));
      const first = received?.descriptors.take();
      expect(received?.descriptors.length).toBe(3);
      await received?.descriptors.close();
      expect(received?.descriptors.length).toBe(0);
      expect(received?.descriptors.take()).toBeUndefined();
      closeAll([...fds, first ?? -1]);
      await Promise.all([one.close(), other.close()]);
    });
  });

  it('are taken up to as many as are asked for; the kernel closes the others, and it is told', async () => {
    await keepsDescriptors(async () => {
      const [one, other] = make();
      const fds = openFiles(4);
      const before = descriptors();
      for (const max of [0, 1, 2, 3]) {
        await one.sendDescriptors(fds, 'x');
        const received = await other.receiveDescriptors(Buffer.alloc(1), { max });
        expect(received?.descriptors.length).toBe(max);
        expect(received).toMatchObject({ descriptorsLost: true });
        await received?.descriptors.close();
      }
      expect(descriptors()).toBe(before);
      closeAll(fds);
      await Promise.all([one.close(), other.close()]);
    });
  });

  it('that come to a receive without room for them are closed by the kernel', async () => {
    await keepsDescriptors(async () => {
      const [one, other] = make();
      const fds = openFiles(2);
      const before = descriptors();
      const next = other[Symbol.asyncIterator]();
      const waiting = next.next();
      await one.sendDescriptors(fds, 'to a loop');
      expect(await waiting).toMatchObject({ done: false });
      await next.return?.();
      await one.sendDescriptors(fds, 'to a read');
      if (other instanceof UnixStream) await other.read(Buffer.alloc(16));
      else expect(await other.recv(Buffer.alloc(16))).toMatchObject({ descriptorsLost: true });
      expect(descriptors()).toBe(before);
      closeAll(fds);
      await Promise.all([one.close(), other.close()]);
    });
  });

  it('that lie unread in a socket are closed with it', async () => {
    await keepsDescriptors(async () => {
      const [one, other] = make();
      const fds = openFiles(3);
      await one.sendDescriptors(fds, 'x');
      await one.sendDescriptors([one, other], 'itself');
      closeAll(fds);
      await Promise.all([one.close(), other.close()]);
    });
  });

  it('are not lost when the receive is cancelled, whichever was quicker', async () => {
    await keepsDescriptors(async () => {
      const [one, other] = make();
      const fds = openFiles(2);
      let received = 0;
      for (let round = 0; round < 60; round++) {
        const waiting = other.receiveDescriptors(Buffer.alloc(1));
        // Sent by somebody who is not in our queue: the kernel has the message and the cancellation in any order.
        const sent = one.sendDescriptors(fds, 'x');
        if (round % 3 === 0) await Promise.resolve();
        if (round % 3 === 1) await sent;
        waiting.cancel();
        const outcome = await waiting.catch((error) => error.code);
        await sent;
        if (outcome === 'ABORT_ERR') {
          const again = await other.receiveDescriptors(Buffer.alloc(1));
          expect(again?.descriptors.length).toBe(2);
          await again?.descriptors.close();
        } else {
          received++;
          expect(outcome.descriptors.length).toBe(2);
          await outcome.descriptors.close();
        }
      }
      expect(received).toBeGreaterThan(0);
      closeAll(fds);
      await Promise.all([one.close(), other.close()]);
    });
  });

  it('that have come when the socket is closed are the receiver’s or nobody’s', async () => {
    await keepsDescriptors(async () => {
      const fds = openFiles(2);
      for (let round = 0; round < 20; round++) {
        const [one, other] = make();
        const waiting = other.receiveDescriptors(Buffer.alloc(1));
        const sent = one.sendDescriptors(fds, 'x').catch(() => {});
        if (round % 2 === 1) await sent;
        const [received] = await Promise.all([waiting.catch(() => null), other.close(), sent]);
        await received?.descriptors.close();
        await one.close();
      }
      closeAll(fds);
    });
  });

  it('that cannot be sent leave nothing behind', async () => {
    await keepsDescriptors(async () => {
      const [one, other] = make();
      const fds = openFiles(2);
      expect(await failure(one.sendDescriptors([...fds, 1 << 20], 'x'))).toMatchObject({
        message: 'sendmsg EBADF',
      });
      const aborted = AbortSignal.abort();
      const options = { signal: aborted };
      const refused =
        one instanceof UnixDatagram
          ? one.sendDescriptors(fds, 'x', undefined, options)
          : one.sendDescriptors(fds, 'x', options);
      expect(await failure(refused)).toMatchObject({ code: 'ABORT_ERR' });
      expect(() => one.sendDescriptors([], 'x')).toThrow(RangeError);
      expect(() => one.sendDescriptors(Array(254).fill(fds[0]), 'x')).toThrow(RangeError);
      expect(() => one.sendDescriptors(-1, 'x')).toThrow(RangeError);
      // @ts-expect-error nothing that has a descriptor
      expect(() => one.sendDescriptors({}, 'x')).toThrow(TypeError);
      await other.close();
      const told = await failure(one.sendDescriptors(fds, 'x'));
      expect(['EPIPE', 'ECONNREFUSED', 'ENOTCONN', 'ECONNRESET']).toContain(told.code);
      await one.close();
      expect(await failure(one.sendDescriptors(fds, 'x'))).toMatchObject({ code: 'EBADF' });
      closeAll(fds);
    });
  });

  it('go with a buffer that is taken away meanwhile: then they are closed', async () => {
    await keepsDescriptors(async () => {
      const [one, other] = make();
      const memory: ArrayBuffer = Reflect.construct(ArrayBuffer, [8, { maxByteLength: 16 }]);
      const waiting = other.receiveDescriptors(new Uint8Array(memory));
      structuredClone(memory, { transfer: [memory] });
      const fds = openFiles(2);
      await one.sendDescriptors(fds, 'x');
      const outcome = await waiting.catch(() => null);
      await outcome?.descriptors.close();
      closeAll(fds);
      await Promise.all([one.close(), other.close()]);
    });
  });

  it('are up to 253', async () => {
    await keepsDescriptors(async () => {
      const [one, other] = make();
      const [fd] = openFiles(1);
      await one.sendDescriptors(Array(253).fill(fd), 'many');
      const received = await other.receiveDescriptors(Buffer.alloc(4));
      expect(received?.descriptors.length).toBe(253);
      await received?.descriptors.close();
      closeSync(fd);
      await Promise.all([one.close(), other.close()]);
    });
  });
});

/** Whether a program that is started does not get it. */
function isCloseOnExec(fd: number): boolean {
  const flags = /flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '0';
  return (Number.parseInt(flags, 8) & 0o2000000) !== 0;
}

/** A descriptor that is closed at once again: its number tells nothing, its file does. */
function openSyncOnce(file: string): number {
  const fd = openSync(file, 'r');
  process.nextTick(() => closeSync(fd));
  return fd;
}

describe('on a stream', () => {
  it('descriptors go in their turn among the writes', async () => {
    await keepsDescriptors(async () => {
      const { client, server } = await connection();
      const [fd] = openFiles(1);
      const big = Buffer.alloc(1 << 20, 'a');
      const sent = [client.writeAll(big), client.sendDescriptors(fd, '|'), client.writeAll('bbb')];
      let before = '';
      const buffer = Buffer.alloc(65_536);
      let at = -1;
      while (before.length < big.length + 4) {
        const { bytes, descriptors: came } = await server.receiveDescriptors(buffer);
        before += buffer.toString('latin1', 0, bytes);
        if (came.length > 0) at = before.length;
        await came.close();
      }
      expect(await Promise.all(sent)).toEqual([big.length, 1, 3]);
      // They came with the byte that they were sent with.
      expect(before.indexOf('|')).toBe(big.length);
      expect(at).toBe(big.length + 1);
      closeSync(fd);
      await Promise.all([client.close(), server.close()]);
    });
  });

  it('need a byte to go with, and go with few', async () => {
    const [one, other] = UnixStream.pair();
    expect(() => one.sendDescriptors(one, '')).toThrow(RangeError);
    expect(() => one.sendDescriptors(one, Buffer.alloc(2049))).toThrow(RangeError);
    expect(() => other.receiveDescriptors(Buffer.alloc(0))).toThrow(RangeError);
    await one.sendDescriptors(one);
    const buffer = Buffer.alloc(4, 'x');
    const { bytes, descriptors: came } = await other.receiveDescriptors(buffer);
    expect([bytes, came.length, buffer.toString()]).toEqual([1, 1, '\0xxx']);
    await came.close();
    await one.shutdown();
    expect(await failure(one.sendDescriptors(one))).toMatchObject({ message: 'sendmsg EPIPE' });
    expect(await other.receiveDescriptors(buffer)).toMatchObject({ bytes: 0 });
    await Promise.all([one.close(), other.close()]);
  });

  it('what a loop has left is read first', async () => {
    const [one, other] = UnixStream.pair();
    await one.writeAll('first');
    const loop = other[Symbol.asyncIterator]();
    const waiting = loop.next();
    expect(await failure(other.receiveDescriptors(Buffer.alloc(4)))).toMatchObject({
      code: 'ERR_INVALID_STATE',
    });
    expect(await waiting).toEqual({ done: false, value: Buffer.from('first') });
    await loop.return?.();
    const [fd] = openFiles(1);
    await one.sendDescriptors(fd, 'with');
    closeSync(fd);
    const { bytes, descriptors: came } = await other.receiveDescriptors(Buffer.alloc(8));
    expect([bytes, came.length]).toEqual([4, 1]);
    await came.close();
    await Promise.all([one.close(), other.close()]);
  });
});

describe('what can be passed', () => {
  it('is every handle that has a descriptor, and what is made of it works', async () => {
    await keepsDescriptors(async () => {
      const [one, other] = UnixStream.pair();
      const tcp = await listen();
      const [client, server] = await Promise.all([dial(tcp), tcp.accept()]);
      const unix = await UnixListener.bind();
      const file = await File.open(path);
      const ofNode = await open(path);
      const address = tcp.address;
      await one.sendDescriptors([file, client, tcp, unix, one, ofNode]);
      await Promise.all([file.close(), client.close(), tcp.close(), one.close(), ofNode.close()]);

      const { descriptors: came } = await other.receiveDescriptors(Buffer.alloc(1));
      const passedFile = came.takeAs(File.fromFd);
      const buffer = Buffer.alloc(16);
      expect(buffer.toString('utf8', 0, await passedFile.read(buffer))).toBe('content');
      const passedClient = came.takeAs(TcpStream.fromFd);
      await passedClient.writeAll('over TCP');
      expect(await server.read(buffer)).toBe(8);
      expect(() => came.takeAs(TcpStream.fromFd)).toThrow(
        expect.objectContaining({ code: 'ERR_INVALID_FD_TYPE' }),
      ); // it listens, and is still there
      const passedListener = came.takeAs(TcpListener.fromFd);
      expect(passedListener.address).toEqual(address);
      const [late, accepted] = await Promise.all([dial(passedListener), passedListener.accept()]);
      const passedUnix = came.takeAs(UnixListener.fromFd);
      const [unixClient, unixServer] = await Promise.all([
        UnixStream.connect(passedUnix.address),
        passedUnix.accept(),
      ]);
      const passedOne = came.takeAs(UnixStream.fromFd);
      await passedOne.writeAll('me');
      expect(await other.read(buffer)).toBe(2);
      const number = came.take() ?? -1;
      expect(readFileSync(number, 'utf8')).toBe('content');
      closeSync(number);
      expect(() => came.takeAs(File.fromFd)).toThrow('No descriptor is left');
      const all = [passedFile, passedClient, passedListener, late, accepted, passedUnix, unixClient];
      for (const each of [...all, unixServer, passedOne, other, server, unix]) await each.close();
    });
  });

  it('comes from other programs, and goes to them', async () => {
    const at = join(dir, 'python');
    await using listener = await UnixListener.bind({ path: at });
    await using other = start([
      'python3',
      '-c',
      `
import os, socket
s = socket.socket(socket.AF_UNIX)
s.connect(${JSON.stringify(at)})
r, w = os.pipe()
socket.send_fds(s, [b'pipe'], [r])
os.write(w, b'through the pipe')
os.close(w)
data, fds, flags, address = socket.recv_fds(s, 100, 4)
print(data.decode(), len(fds), os.read(fds[0], 100).decode(), flush=True)
`,
    ]);
    const stream = await listener.accept();
    const { descriptors: came } = await stream.receiveDescriptors(Buffer.alloc(16));
    const pipe = came.takeAs(File.fromFd);
    const buffer = Buffer.alloc(32);
    expect(buffer.toString('utf8', 0, await pipe.read(buffer))).toBe('through the pipe');
    const file = await File.open(path);
    await stream.sendDescriptors(file, 'a file');
    expect(await other.line()).toBe('a file 1 content');
    await Promise.all([pipe.close(), file.close(), stream.close()]);
  });

  it('is a socket of node:net, which goes on here', async () => {
    const node = net.createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
    const connected = new Promise<net.Socket>((done) => void node.once('connection', done));
    await new Promise((listening) => node.once('listening', listening));
    const { port } = node.address() as net.AddressInfo;
    const client = await TcpStream.connect({ host: '127.0.0.1', port });
    const socket = await connected;
    const { fd } = (socket as net.Socket & { readonly _handle: { readonly fd: number } })._handle;
    const [one, other] = UnixStream.pair();
    await one.sendDescriptors(fd);
    const { descriptors: came } = await other.receiveDescriptors(Buffer.alloc(1));
    const stream = came.takeAs(TcpStream.fromFd);
    const waiting = stream.read(Buffer.alloc(8)); // it has O_NONBLOCK, and waits all the same
    await client.writeAll('hello');
    expect(await waiting).toBe(5);
    for (const each of [stream, one, other, client]) await each.close();
    socket.destroy();
    node.close();
  });

  it('is close-on-exec also by the op below', async () => {
    const [one, other] = UnixStream.pair();
    const [fd] = openFiles(1);
    await one.sendDescriptors(fd);
    const { control } = await submit(recvmsg(other, [Buffer.alloc(1)], { control: 32 }));
    const taken = control?.readInt32LE(16) ?? -1;
    expect(isCloseOnExec(taken)).toBe(true);
    closeAll([fd, taken]);
    await Promise.all([one.close(), other.close()]);
  });
});

describe('descriptors whose owner is gone', () => {
  const tools = `
    import { openSync, readdirSync } from 'node:fs';
    import { setTimeout as later } from 'node:timers/promises';
    import { Worker } from 'node:worker_threads';
    import { UnixStream, UnixDatagram } from '@ouro/net';
    import { nop } from '@ouro/runtime/driver';
    const descriptors = () => readdirSync('/proc/self/fd').length;
    const file = openSync('/dev/null');
    await nop();
    process.stdout;
    async function settle(wanted) {
      for (let i = 0; i < 200 && descriptors() !== wanted; i++) { gc(); await later(15); await nop(); }
      console.log(descriptors() - wanted);
    }
  `;
  const run = (body: string) => runProgram(tools + body, { flags: ['--expose-gc'], limitMs: 90_000 });

  it('are closed when that is collected', async () => {
    const { stdout, stderr } = await run(`
      const before = descriptors();
      await (async () => {
        const [one, other] = UnixStream.pair();
        for (let i = 0; i < 10; i++) {
          await one.sendDescriptors([file, file]);
          await other.receiveDescriptors(Buffer.alloc(1));
        }
        await one.sendDescriptors([file, file]);
        const lost = other.receiveDescriptors(Buffer.alloc(1));
        await Promise.race([lost, nop()]);
        await nop();
        await Promise.all([one.close(), other.close()]);
      })();
      await settle(before);
    `);
    expect([stdout, stderr]).toEqual(['0\n', '']);
  });

  it('are closed with a worker that is terminated at any moment', async () => {
    const { stdout, stderr } = await run(`
      const worker = async (source, ms) => {
        const thread = new Worker(\`
          import { openSync } from 'node:fs';
          import { parentPort } from 'node:worker_threads';
          import { UnixStream, UnixDatagram, UnixSeqpacket } from '@ouro/net';
          const file = openSync('/dev/null');
          \${source}
        \`, { eval: true });
        await new Promise((done, failed) => thread.once('message', done).once('error', failed));
        await later(ms);
        await thread.terminate();
      };
      const busy = \`
        for (const make of [UnixStream, UnixDatagram, UnixSeqpacket]) {
          const [one, other] = make.pair();
          (async () => { for (;;) await one.sendDescriptors([file, file, one], 'x'); })();
          (async () => {
            const kept = [];
            for (;;) {
              const { descriptors } = await other.receiveDescriptors(Buffer.alloc(1));
              if (Math.random() < 0.3) kept.push(descriptors); else descriptors.close();
              if (kept.length > 20) await kept.shift().close();
            }
          })();
        }
        parentPort.postMessage('busy');
      \`;
      await worker(busy, 0);
      const before = descriptors();
      for (let i = 0; i < 6; i++) await worker(busy, i * 7);
      await worker("const [one, other] = UnixStream.pair(); other.receiveDescriptors(Buffer.alloc(1)); one.sendDescriptors([file, file]); globalThis.held = one; parentPort.postMessage('x');", 5);
      await worker("const [one, other] = UnixStream.pair(); await one.sendDescriptors([file, one, other]); globalThis.held = await other.receiveDescriptors(Buffer.alloc(1)); held.descriptors.takeAs((fd) => fd); parentPort.postMessage('x');", 0);
      await worker("const [one, other] = UnixStream.pair(); await one.sendDescriptors([one]); globalThis.held = (await other.receiveDescriptors(Buffer.alloc(1))).descriptors.takeAs(UnixStream.fromFd); held.read(Buffer.alloc(1)); parentPort.postMessage('x');", 0);
      // The kernel has made them, and JavaScript never hears of it.
      for (const make of ['UnixStream', 'UnixDatagram']) await worker(\`const { nop } = await import('@ouro/runtime/driver'); const [one, other] = \${make}.pair(); await one.sendDescriptors([file, file, one], 'x'); other.receiveDescriptors(Buffer.alloc(1)); for (let i = 0; i < 300; i++) nop(); parentPort.postMessage('x'); for (;;);\`, 5);
      await settle(before);
    `);
    expect([stdout, stderr]).toEqual(['0\n', '']);
  }, 120_000);
});
